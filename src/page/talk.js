// What was said, and who came and went.
//
// Owns: the list of it, its end that stays in sight, and long messages that fold.
// Refuses to know: the connection, and what is to be noted when.

import { aria, make, nameElement } from './element.js';
import { clock, say, spoken } from './words.js';

// A lesson's talk stays on the page; a day's would make a small tablet crawl.
/** The most that stays. */
export const TALK_MOST = 500;
// How far from its end somebody may have scrolled and still be taken along by what comes.
const NEAR_END_PX = 48;
// What is longer would push everything else out of sight: one sees how it begins, and opens it.
const SHOWN_LINES = 12;
const SHOWN_CHARACTERS = 700;

/** `list` is what grows, `frame` what scrolls. */
export function openTalk(list, frame, me) {
  // Whether the reader is at the end, and wants to stay there.
  let following = true;

  function follow() {
    if (following) {
      frame.scrollTop = frame.scrollHeight;
    }
  }

  function show(item) {
    list.append(item);
    if (list.children.length > TALK_MOST) {
      list.firstElementChild.remove();
    }
    follow();
  }

  frame.onscroll = () => {
    following = frame.scrollHeight - frame.scrollTop - frame.clientHeight < NEAR_END_PX;
  };
  if (window.ResizeObserver) {
    // A keyboard that comes up, or a notice, would otherwise cover what was said last.
    new ResizeObserver(follow).observe(frame);
  }

  return {
    follow,

    note(key, member, time, filling) {
      const item = make('li', 'note', ...(member ? [nameElement(member), ' '] : []), spoken(key, filling));
      if (time) {
        item.append(' ', clock(time));
      }
      show(item);
    },

    chat(from, content, time, seq) {
      const isMine = from.id === me;
      const words = make('p', '', content);
      const item = make('li', isMine ? 'said mine' : 'said', nameElement(from));
      const begin = Array.from(content.split('\n').slice(0, SHOWN_LINES).join('\n')).slice(0, SHOWN_CHARACTERS).join('');
      words.dir = 'auto';
      item.append(begin.length < content.length ? make('details', '', make('summary', '', begin, '…'), words) : words, clock(time));
      if (isMine) {
        const count = make('span', 'receipts');
        count.dataset.seq = seq;
        // The talk is read aloud as it grows; that one more has read something is not news.
        aria(count, 'live', 'off');
        item.append(count);
        following = true;
      }
      show(item);
    },

    received(seq, n, of) {
      const count = list.querySelector('.receipts[data-seq="' + seq + '"]');
      if (count) {
        say(count, 'received_by', { n, of });
      }
    },

    /** What a number meant before is not what it means from now on. */
    forgetNumbers() {
      list.querySelectorAll('.receipts').forEach(count => count.removeAttribute('data-seq'));
    },
  };
}
