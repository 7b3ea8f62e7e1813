// Where things stand between the page and the hub, in words.
//
// Owns: the line that says so, the countdown to the next try, and the notice of what went wrong with what can be done.
// Refuses to know: what happens in the room, and when it is tried again.

import { known, say } from './words.js';

// The tries of one break after which the page makes a notice of it. The first two take less than a
// second, and a notice that flashes up and goes is worse than none.
const NOTICED_TRIES = 3;

/** The hub's own words, and its code for whoever is asked about it. */
export function hubWords(reply) {
  return reply.msg + (reply.code ? ' (' + reply.code + ')' : '');
}

// What led here, in the reader's words; null where the hub's own say enough.
function explain({ name, why }) {
  if (why.msg) {
    return why.held ? 'duplicate_held' : why.duplicate ? 'duplicate' : null;
  }
  if (name === 'offline') {
    return 'closed_offline';
  }
  const key = 'closed_' + (why.removed ? 'removed' : why.close);
  return known(key) ? key : 'closed_other';
}

/** `at` is the part of the page, `hub` what is told of. */
export function showStanding(at, hub) {
  let ticking = 0;
  // What broke the connection, told once it is mended: most breaks are over before anybody could have read of them.
  let broken = null;

  function tick() {
    const { until } = hub.state;
    const n = Math.ceil((until - performance.now()) / 1000);
    // The first tries come faster than anybody reads.
    say(at.countdown, until > 0 && n > 1 ? 'countdown' : null, { n });
  }

  return {
    show(inside) {
      const { name, until, why } = hub.state;
      const connects = name === 'connecting';
      const tries = until > 0 || connects;
      at.state.dataset.state = name;
      say(at.state.firstElementChild, 'state_' + name);
      clearInterval(ticking);
      tick();
      if (until > 0) {
        ticking = setInterval(tick, 250);
      }
      if (why) {
        const key = explain(hub.state);
        const filling = { code: why.close };
        const words = why.msg ? hubWords(why) : '';
        if (until > 0 && key !== null) {
          broken = broken || { key, filling };
        }
        if (at['notice-hub'].textContent !== words) {
          at['notice-hub'].textContent = words;
        }
        say(at['notice-words'], key, filling);
        say(at['notice-hope'], tries ? 'coming_back' : null);
        say(at.retry, tries ? 'try_now' : 'try_again');
      }
      at.notice.hidden = !why || (tries && hub.tries < NOTICED_TRIES);
      at.back.hidden = !inside;
      at.retry.disabled = connects;
    },

    /** It is over; what broke the connection may be noted. */
    mended(note) {
      if (broken && note) {
        note(broken.key, null, 0, broken.filling);
      }
      broken = null;
    },
  };
}
