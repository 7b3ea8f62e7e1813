// What is to be said here and is not yet known to be in the room: what was typed, and what is the page's own to say.
//
// Owns: the order of it, when the next goes out, and that each goes out once.
// Refuses to know: when there is a connection, and what any of it looks like.
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

/** `hub` is what it goes to; `changed()` hears whenever something typed came, went, or was given back. */
export function openOutbox(hub, changed) {
  // {ref, type, content, key}, the oldest first.
  let entries = [];
  // The ref of the one that is on its way.
  let sent = null;
  // Whether the room is there, and all of the past is known.
  let open = false;
  let timer = 0;
  // No message before this.
  let after = 0;

  // Takes it out, wherever it stands: the entry, or null.
  function settle(ref) {
    const entry = entries.find(entry => entry.ref === ref);
    if (!entry) {
      return null;
    }
    entries = entries.filter(other => other !== entry);
    if (sent === ref) {
      sent = null;
    }
    changed();
    next();
    return entry;
  }

  function next() {
    clearTimeout(timer);
    if (!open || sent !== null || entries.length === 0) {
      return;
    }
    const wait = after - performance.now();
    const first = entries.find(entry => entry.key) || entries[0];
    if (wait > 0) {
      timer = setTimeout(next, wait);
    } else if (hub.say(first.type, { content: first.content }, first.ref)) {
      sent = first.ref;
      after = performance.now() + PACE_MS;
    }
  }

  function pause() {
    open = false;
    clearTimeout(timer);
  }

  // What was typed and is still here, the oldest first.
  function typed() {
    return entries.filter(entry => !entry.key).map(entry => entry.content);
  }

  return {
    typed,

    /** The connection is gone. */
    pause,

    /** The room said it, so it has arrived. */
    confirm: settle,

    /** Takes a message, and sends it when its turn comes. */
    add(type, content) {
      entries.push({ ref: hub.nextRef(), type, content });
      changed();
      next();
    },

    /** Takes the latest of its key, in place of what was not sent of it yet. */
    put(key, type, content) {
      const last = entries.filter(entry => entry.key === key).pop();
      if (last && JSON.stringify(last.content) === JSON.stringify(content)) {
        return;
      }
      if (last && last.ref !== sent) {
        last.content = content;
      } else {
        entries.push({ ref: hub.nextRef(), type, content, key });
      }
      next();
    },

    /** Whether anything of this key is still to arrive. */
    has: key => entries.some(entry => entry.key === key),

    /** The hub refused it: the entry; null if it is none of these, or will be tried again. */
    refuse(ref, isTooFast) {
      if (isTooFast && ref === sent) {
        sent = null;
        after = performance.now() + TOO_FAST_MS;
        next();
        return null;
      }
      return settle(ref);
    },

    /** The connection is back, and what had arrived was confirmed: the one that was on its way had not. */
    resume() {
      if (!open) {
        open = true;
        sent = null;
        next();
      }
    },

    /** Nobody can say whether the one on its way arrived: what was typed, to be given back, if it was that. */
    doubt() {
      const entry = entries.find(entry => entry.ref === sent && !entry.key);
      return entry ? [settle(sent).content] : [];
    },

    /** Gives up all of it: what was typed. */
    empty() {
      const contents = typed();
      entries = [];
      sent = null;
      pause();
      changed();
      return contents;
    },
  };
}
