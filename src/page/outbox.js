// What was typed here and is not yet known to be in the room.
//
// Owns: the order of it, when the next goes out, and that each goes out once.
// Refuses to know: the connection, and what any of it looks like.
//
// One message is on its way at a time, so that none overtakes another, whatever is refused or lost. When the connection
// breaks, that one is the only one of which nobody can say whether it arrived: what is replayed after it tells, and where
// nothing is replayed, a person decides.

// The hub takes 20 messages a second, and each is waited for anyway.
const PACE_MS = 60;
// What was refused for coming too fast is tried again after this.
const TOO_FAST_MS = 1000;

export class Outbox {
  /** `send(ref, content)` says whether it could; `changed()` hears whenever something came, went, or was given back. */
  constructor(send, changed) {
    this.send = send;
    this.changed = changed;
    this.entries = []; // {ref, content}, the oldest first
    this.sent = null; // the ref of the one that is on its way
    this.open = false; // whether the room is there, and all of the past is known
    this.timer = 0;
    this.after = 0; // no message before this
  }

  /** Takes a message, and sends it when its turn comes. */
  add(ref, content) {
    this.entries.push({ ref, content });
    this.changed();
    this.next();
  }

  /** The room said it, so it has arrived; whether it was one of these. */
  confirm(ref) {
    return this.settle(ref) !== null;
  }

  /** The hub refused it: its content, to be given back; null if it is none of these, or will be tried again. */
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

  /** Nobody can say whether the one on its way arrived: its content, to be given back; null if there is none. */
  doubt() {
    return this.sent === null ? null : this.settle(this.sent);
  }

  /** Gives up all of it: the contents, the oldest first. */
  empty() {
    const contents = this.entries.map(entry => entry.content);
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
    return entry.content;
  }

  next() {
    clearTimeout(this.timer);
    if (!this.open || this.sent !== null || this.entries.length === 0) {
      return;
    }
    const wait = this.after - performance.now();
    if (wait > 0) {
      this.timer = setTimeout(() => this.next(), wait);
    } else if (this.send(this.entries[0].ref, this.entries[0].content)) {
      this.sent = this.entries[0].ref;
      this.after = performance.now() + PACE_MS;
    }
  }
}
