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

export class Receipts {
  /** `send(seqs)` says whether it could; `changed(seq, count)` hears that so many have received one's own message `seq`. */
  constructor(send, changed) {
    this.send = send;
    this.changed = changed;
    this.owed = [];
    this.timer = 0;
    this.own = new Map(); // the number of one's own message to the ids of those who have it
  }

  /** Somebody else's message has come. */
  arrived(seq) {
    this.owed.push(seq);
    this.later();
  }

  /** Sends what is owed, as far as it can be. */
  flush() {
    clearTimeout(this.timer);
    this.timer = 0;
    if (this.owed.length > 0 && this.send(this.owed.slice(0, MOST))) {
      this.owed.splice(0, MOST);
      if (this.owed.length > 0) {
        this.later();
      }
    }
  }

  /** One's own message is in the room; only the latest `most` are kept. */
  watch(seq, most) {
    this.own.set(seq, new Set());
    if (this.own.size > most) {
      this.own.delete(this.own.keys().next().value);
    }
  }

  /** Somebody has received one's own messages: one number, or several. */
  received(id, seqs) {
    [].concat(seqs).forEach(seq => {
      const ids = this.own.get(seq);
      if (ids && !ids.has(id)) {
        ids.add(id);
        this.changed(seq, ids.size);
      }
    });
  }

  /** Another room, or another life of this one: its numbers mean something else. */
  forget() {
    this.owed = [];
    this.own.clear();
  }

  later() {
    if (this.timer === 0) {
      this.timer = setTimeout(() => this.flush(), TOGETHER_MS);
    }
  }
}
