// Who has received what.
//
// Owns: which messages of others are still to be acknowledged, and who has acknowledged one's own.
// Refuses to know: the connection, and what any of it looks like.
//
// Acknowledgements go out together, once a second: a lively class would else have each of its pages send a message for each
// message of each other, and the hub would refuse most of them.

const TOGETHER_MS = 1000;
// The hub takes so many in one request.
const MOST = 64;

/** `send(seqs)` says whether it could; `changed(seq, count)` hears that so many have received one's own message `seq`. */
export function keepReceipts(send, changed) {
  let owed = [];
  let timer = 0;
  // The number of one's own message to the ids of those who have it.
  const own = new Map();

  // Sends what is owed, as far as it can be.
  function flush() {
    clearTimeout(timer);
    timer = 0;
    if (owed.length > 0 && send(owed.slice(0, MOST))) {
      owed.splice(0, MOST);
      if (owed.length > 0) {
        later();
      }
    }
  }

  function later() {
    timer = timer || setTimeout(flush, TOGETHER_MS);
  }

  return {
    flush,

    /** Somebody else's message has come. */
    arrived(seq) {
      owed.push(seq);
      later();
    },

    /** One's own message is in the room; only the latest `most` are kept. */
    watch(seq, most) {
      own.set(seq, new Set());
      if (own.size > most) {
        own.delete(own.keys().next().value);
      }
    },

    /** Somebody has received one's own messages: one number, or several. */
    received(id, seqs) {
      [].concat(seqs).forEach(seq => {
        const ids = own.get(seq);
        if (ids && !ids.has(id)) {
          ids.add(id);
          changed(seq, ids.size);
        }
      });
    },

    /** Another room, or another life of this one: its numbers mean something else. */
    forget() {
      owed = [];
      own.clear();
    },
  };
}
