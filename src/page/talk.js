// What was said, and who came and went.
//
// Owns: the list of it, its end that stays in sight, and long messages that fold.
// Refuses to know: the connection, and what is to be noted when.

import { button, make, nameElement } from './element.js';
import { clock, say } from './words.js';

// A lesson's talk stays on the page; a day's would make a small tablet crawl.
/** The most that stays. */
export const TALK_MOST = 500;
// How far from its end somebody may have scrolled and still be taken along by what comes.
const NEAR_END_PX = 48;
// What is longer, in characters or lines, would push everything else out of sight.
const LONG_CHARACTERS = 700;
const LONG_LINES = 12;

export class Talk {
  /** `list` is what grows, `frame` what scrolls. */
  constructor(list, frame, me) {
    this.list = list;
    this.frame = frame;
    this.me = me;
    this.following = true; // whether the reader is at the end, and wants to stay there
    frame.onscroll = () => {
      this.following = frame.scrollHeight - frame.scrollTop - frame.clientHeight < NEAR_END_PX;
    };
    if (window.ResizeObserver) {
      // A keyboard that comes up, or a notice, would otherwise cover what was said last.
      new ResizeObserver(() => this.follow()).observe(frame);
    }
  }

  follow() {
    if (this.following) {
      this.frame.scrollTop = this.frame.scrollHeight;
    }
  }

  show(item) {
    this.list.append(item);
    while (this.list.children.length > TALK_MOST) {
      this.list.firstElementChild.remove();
    }
    this.follow();
  }

  note(key, member, time, filling) {
    const item = make('li', 'note');
    if (member) {
      item.append(nameElement(member), ' ');
    }
    const words = make('span');
    say(words, key, filling);
    item.append(words);
    if (time) {
      item.append(' ', clock(time));
    }
    this.show(item);
  }

  chat(from, content, time, seq) {
    const isMine = from.id === this.me;
    const words = make('p', '', content);
    words.dir = 'auto';
    const item = make('li', isMine ? 'said mine' : 'said', nameElement(from), words);
    if (content.length > LONG_CHARACTERS || content.split('\n').length > LONG_LINES) {
      item.append(this.fold(words));
    }
    item.append(clock(time));
    if (isMine) {
      const count = make('span', 'receipts');
      count.dataset.seq = seq;
      // The talk is read aloud as it grows; that one more has read something is not news.
      count.setAttribute('aria-live', 'off');
      item.append(' ', count);
    }
    this.following = this.following || isMine;
    this.show(item);
  }

  fold(words) {
    const more = button('quiet more', () => fold(!words.classList.contains('long')));
    const fold = folded => {
      words.classList.toggle('long', folded);
      more.setAttribute('aria-expanded', String(!folded));
      say(more, folded ? 'show_all' : 'show_less');
    };
    fold(true);
    return more;
  }

  received(seq, n, of) {
    const count = this.list.querySelector('.receipts[data-seq="' + seq + '"]');
    if (count) {
      say(count, 'received_by', { n, of });
    }
  }

  /** What a number meant before is not what it means from now on. */
  forgetNumbers() {
    this.list.querySelectorAll('.receipts').forEach(count => count.removeAttribute('data-seq'));
  }

  clear() {
    this.list.textContent = '';
    this.following = true;
  }
}
