// What is to be said here and is not yet known to be in the room: what was typed, and what is the page's own to say.
//
// Owns: the order of it, when the next goes out, and that each goes out once.
// Refuses to know: the connection, and what any of it looks like.
//
// One message is on its way at a time, so that none overtakes another, whatever is refused or lost. When the connection
// breaks, that one is the only one of which nobody can say whether it arrived: what is replayed after it tells, and where
// nothing is replayed, a person decides.
//
// A hand, a poll, a vote (whatever has a `key`) is different: only the latest of each key counts, and saying it twice does
// no harm. It goes ahead of what was typed, and goes out again where it may not have arrived.

// The hub takes 20 messages a second, and each is waited for anyway.
const PACE_MS = 60;
// What was refused for coming too fast is tried again after this.
const TOO_FAST_MS = 1000;

export class Outbox {
  /** `send(entry)` says whether it could; `changed()` hears whenever something came, went, or was given back. */
  constructor(send, changed) {
    this.send = send;
    this.changed = changed;
    this.entries = []; // {ref, type, content, key}, the oldest first
    this.sent = null; // the ref of the one that is on its way
    this.open = false; // whether the room is there, and all of the past is known
    this.timer = 0;
    this.after = 0; // no message before this
  }

  /** Takes a message, and sends it when its turn comes. */
  add(ref, type, content) {
    this.entries.push({ ref, type, content, key: null });
    this.changed();
    this.next();
  }

  /** Takes the latest of its key, in place of what was not sent of it yet. */
  put(ref, key, type, content) {
    const waiting = this.entries.filter(entry => entry.key === key);
    const last = waiting.pop();
    if (last && JSON.stringify(last.content) === JSON.stringify(content)) {
      return;
    }
    if (last && last.ref !== this.sent) {
      last.content = content;
    } else {
      this.entries.push({ ref, type, content, key });
    }
    this.next();
  }

  /** Whether anything of this key is still to arrive. */
  has(key) {
    return this.entries.some(entry => entry.key === key);
  }

  /** What was typed and is still here. */
  typed() {
    return this.entries.filter(entry => entry.key === null).map(entry => entry.content);
  }

  /** The room said it, so it has arrived; whether it was one of these. */
  confirm(ref) {
    return this.settle(ref) !== null;
  }

  /** The hub refused it: the entry; null if it is none of these, or will be tried again. */
  refuse(ref, isTooFast) {
    if (isTooFast && ref === this.sent) {
      this.sent = null;
      this.after = performance.now() + TOO_FAST_MS;
      this.next();
      return null;
    }
    return this.settle(ref);
  }

  /** The connection is gone. */
  pause() {
    this.open = false;
    clearTimeout(this.timer);
  }

  /** The connection is back, and what had arrived was confirmed: the one that was on its way had not. */
  resume() {
    if (this.open) {
      return;
    }
    this.open = true;
    this.sent = null;
    this.next();
  }

  /** Nobody can say whether the one on its way arrived: what was typed, to be given back, if it was that. */
  doubt() {
    const entry = this.entries.find(entry => entry.ref === this.sent && entry.key === null);
    return entry ? [this.settle(entry.ref).content] : [];
  }

  /** Gives up all of it: what was typed, the oldest first. */
  empty() {
    const contents = this.typed();
    this.entries = [];
    this.sent = null;
    this.pause();
    this.changed();
    return contents;
  }

  settle(ref) {
    const at = this.entries.findIndex(entry => entry.ref === ref);
    if (at < 0) {
      return null;
    }
    const [entry] = this.entries.splice(at, 1);
    if (this.sent === ref) {
      this.sent = null;
    }
    this.changed();
    this.next();
    return entry;
  }

  next() {
    clearTimeout(this.timer);
    if (!this.open || this.sent !== null || this.entries.length === 0) {
      return;
    }
    const wait = this.after - performance.now();
    const first = this.entries.find(entry => entry.key !== null) || this.entries[0];
    if (wait > 0) {
      this.timer = setTimeout(() => this.next(), wait);
    } else if (this.send(first)) {
      this.sent = first.ref;
      this.after = performance.now() + PACE_MS;
    }
  }
}
