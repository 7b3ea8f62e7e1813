// One seat in one room of the hub, kept for as long as somebody wants it.
//
// Owns: the WebSocket, when to try again, the heartbeat, what it takes to come back to the same seat with nothing
// missed (its token, and the number of the last frame seen), and the shape of what is sent.
// Refuses to know: the page, its words, and what is done with what the hub says.
//
// There is always exactly one state, and at most one thing being waited for (`wait`):
//   out         nobody wants to be in a room
//   connecting  on the way: a connection, then the answer to the join
//   joined      in the room
//   waiting     not in the room; the next try is at `until`
//   offline     the same, while the browser says that there is no network
//   refused     the hub said no, and trying again is for a person to decide
//   closed      the hub hung up in a way that trying again by itself would not mend

/** The longest message that the hub takes, in bytes and whole. */
export const MESSAGE_BYTES = 16384;

// Fast enough that a restarted hub is not noticed, slow enough that a class of thirty that lost
// it does not keep a small board from starting.
const RETRY_FIRST_MS = 250;
const RETRY_MOST_MS = 8000;
// A hub that asks for patience (1013) is not asked again at once.
const BUSY_FIRST_MS = 4000;
// Left alone, a browser waits minutes for an access point that is gone.
const ATTEMPT_MS = 10000;
// How long a living hub may take to answer whether it is there.
const ANSWER_MS = 5000;
// The same where the network is a new one, and the connection most likely of the old: to ask in vain must not cost the
// second in which the page is to be back. To take the seat over from itself costs nothing.
const MOVED_ANSWER_MS = 500;
// A try that was on its way for so long when somebody looks may be of a network that is gone.
const STALE_TRY_MS = 1000;
// The hub expects a sign of life every 120 s. Browsers slow the timers of a hidden page to one
// a minute, which is still in time.
const HEARTBEAT_MS = 30000;

// Coming back after these by itself would be wrong: the hub threw this page out for what it did,
// or the same person sits elsewhere now and the two would throw each other out forever.
const CLOSE_TAKEN = 4001;
const FINAL_CLOSES = [1008, CLOSE_TAKEN];
const CLOSE_BUSY = 1013;
// A refusal that may be over in a moment: worth trying again where nobody is there to do it.
const PASSING_CODES = ['room_full', 'hub_full', 'rate_limited'];
// The one failure that has no code, and is known by its exact words.
const DUPLICATE = '连接被拒,您已在其他页面或客户端加入该房间,请先将其退出!';

/** How many bytes a text takes on the wire. */
export function bytes(text) {
  return new TextEncoder().encode(text).length;
}

/**
 * `on` hears of everything:
 * `state({name, until, why})`, where `why` is null or what led here:
 *   `{close}` (a close code; null if the hub was never reached), `{removed: true}`,
 *   or `{msg, code, duplicate}` (a refusal; `held` if it is only the seat's own past);
 * `joined(room, beside, same)` for the answer to one's own join, and what stood beside it: without `members` all that was
 *   missed follows as frames; `same` if it is the seat of the token that was shown;
 * `caught(room)` once every frame from before has come, and after a break all that was sent before it is known;
 *   and again whenever it was asked who is there;
 * `frame(body)` for what the room hears, each once and in order; `hole()` where one should have come and did not;
 * `answer(dataType, data)` for what the hub tells this page alone; `receipt(data)` for who has received what;
 * `failure(reply)` for what went wrong.
 */
export function openHub(on) {
  const hub = {
    state: { name: 'out', until: 0, why: null },
    // The tries of the present break.
    tries: 0,
    // The token of the seat, as the hub gave it.
    token: null,
    // All frames after this one may be asked for with that token.
    since: null,
    // The number of the last frame seen; null if what came before is not on the page.
    seen: null,
    // Whether what came before this seat was taken has come.
    caught: false,
  };
  let socket = null;
  // Connections given up, which may still hold the seat.
  let stale = [];
  // The joins given up on: each may yet reach the hub, and take the seat from this page itself.
  let late = 0;
  // When the present try began.
  let tried = 0;
  // {member, room, codes} while somebody wants to be there.
  let wanted = null;
  // The `ref` of a pull that was not answered yet.
  let pulled = null;
  // When the hub last got a sign of life.
  let beaten = 0;
  // Whether the present try is our own idea.
  let automatic = false;
  // Nobody else's `ref` is like ours, and none of an earlier page either.
  const page = Math.random().toString(36).slice(2, 10);
  let refs = 0;
  let timer = 0;

  const is = name => hub.state.name === name;

  /**
   * Takes a seat, and keeps it until `leave`. `codes` is what the hub may want to be shown (`passcode`, `ownerPasscode`). With
   * the `token` of an earlier seat in this room (in `past`) it is that one again, and all that came after number `seen` is heard
   * again.
   */
  hub.join = (member, room, codes, past) => {
    wanted = { member, room, codes };
    ({ token: hub.token, since: hub.since, seen: hub.seen } = past);
    automatic = false;
    hub.tries = late = 0;
    hub.state.why = null;
    attempt();
  };

  /** Tries again now: on the connection that was refused if it still stands, else on a new one. */
  hub.retry = () => {
    if (!wanted || is('connecting') || is('joined')) {
      return;
    }
    if (is('refused') || is('closed')) {
      // A person asked, so a person gets the answer.
      automatic = false;
      hub.state.why = null;
    }
    hub.tries = 0;
    attempt();
  };

  /** Gives the seat up. */
  hub.leave = () => {
    if (is('joined')) {
      hub.say(2, {});
    }
    wanted = hub.token = hub.since = hub.seen = null;
    // What was sent goes out first.
    drop();
    become('out');
  };

  /** How many bytes a chat message takes as it is sent. */
  hub.size = content => bytes(JSON.stringify(message(3, 3, { content }, hub.nextRef())));

  /** Says something to the room, or asks it of the hub; whether it was sent. The hub's echo, or its refusal, has the same `ref`. */
  hub.say = (dataType, data, ref = hub.nextRef()) => is('joined') && send(message(3, dataType, data, ref));

  /** Tells the authors of these messages, up to 64, that they have arrived; whether that was sent. */
  hub.receive = seq => is('joined') && send(message(4, 3, { seq }, hub.nextRef()));

  /** A `ref` that nobody has used. */
  hub.nextRef = () => {
    refs += 1;
    return page + '.' + refs;
  };

  function message(msgType, dataType, data, ref) {
    const roomNumber = wanted ? wanted.room : '';
    return { msgType, textData: { dataType, data: Object.assign({ roomNumber }, data) }, extendFields: { ref } };
  }

  // ---- The way in ----

  function attempt() {
    tried = performance.now();
    become('connecting', 0, hub.state.why);
    wait(ATTEMPT_MS, () => broken(null));
    if (socket && socket.readyState === WebSocket.OPEN) {
      ask();
      return;
    }
    giveUp();
    let opened = false;
    socket = new WebSocket(location.origin.replace('http', 'ws') + '/ws');
    socket.onopen = () => {
      opened = true;
      ask();
    };
    socket.onmessage = event => heard(JSON.parse(event.data));
    socket.onclose = event => {
      socket = null;
      broken(opened ? event.code : null);
    };
  }

  function ask() {
    const request = message(2, 1, { from: wanted.member }, hub.nextRef());
    // The hub reads null as absent.
    Object.assign(request.extendFields, { resumeToken: hub.token, lastSeq: hub.seen }, wanted.codes);
    send(request);
  }

  // The answer stands behind all that the hub had for this page when it was asked. Until it comes, something must.
  function pull(ms) {
    pulled = hub.nextRef();
    send(message(5, 1, {}, pulled));
    wait(ms, () => broken(1006));
  }

  // The connection is gone, or as good as gone. `code` is null if it never stood.
  function broken(code) {
    const isOwn = code === CLOSE_TAKEN && late > 0;
    const isFinal = FINAL_CLOSES.includes(code) && !isOwn;
    late -= isOwn;
    giveUp();
    // Where the next try is settled already, it was to be on this connection, and will be on another. Where the hub said
    // no, it hangs up on who never sits down, and the words of the refusal matter more.
    if (!is('connecting') && !is('joined') && !(isFinal && hub.state.until > 0)) {
      return;
    }
    if (isFinal) {
      rest();
      become('closed', 0, { close: code });
    } else {
      // That the hub can't be reached again yet says less than why it was lost.
      const { why } = hub.state;
      const known = code === null && why && why.close !== undefined;
      later(known ? why : { close: code }, code === CLOSE_BUSY ? BUSY_FIRST_MS : RETRY_FIRST_MS);
    }
  }

  function later(why, first) {
    // From half of it to all of it, so that a class does not come back in one instant.
    const most = Math.min(first * Math.pow(2, hub.tries), RETRY_MOST_MS);
    const delay = most * (0.5 + Math.random() / 2);
    hub.tries += 1;
    wait(delay, attempt);
    // The browser's word on the network decides what is shown and nothing else: a hub on this very
    // device, or on a network that the browser thinks little of, is there all the same.
    become(navigator.onLine === false ? 'offline' : 'waiting', performance.now() + delay, why);
  }

  // Something changed outside: the network, which may be `another`, or somebody looks at the page again.
  function look(another) {
    if (is('waiting') || is('offline')) {
      if (navigator.onLine === false) {
        become('offline', hub.state.until, hub.state.why);
      } else {
        hub.tries = 0;
        attempt();
      }
    } else if (is('connecting') && (another || performance.now() - tried > STALE_TRY_MS)) {
      giveUp();
      attempt();
    } else if (is('joined') && (another || pulled === null)) {
      // A connection that died while the device slept looks alive for minutes, since the hub never
      // answers a heartbeat. It does answer this.
      pull(another ? MOVED_ANSWER_MS : ANSWER_MS);
    }
  }

  // ---- What is heard ----

  function heard(reply) {
    if (performance.now() - beaten > HEARTBEAT_MS) {
      beat();
    }
    if (pulled !== null) {
      // What stands before the answer may be long.
      wait(ANSWER_MS, () => broken(1006));
    }
    if (reply.status === 1) {
      granted(reply.resultBody);
    } else {
      refused(reply);
    }
  }

  function granted(body) {
    const { msgType, textData: { dataType, data }, extendFields: beside = {} } = body;
    // Only the answer to one's own join comes with a token.
    if (is('connecting') && beside.resumeToken) {
      seated(data, beside);
    } else if (!is('joined')) {
      return;
    } else if (msgType === 4) {
      on.receipt(data);
    } else if (msgType === 5) {
      answered(data, beside);
    } else if (beside.seq === undefined) {
      on.answer(dataType, data);
    } else {
      next(body, beside);
    }
  }

  function seated(room, beside) {
    const same = hub.token === beside.resumeToken;
    hub.token = beside.resumeToken;
    hub.seen = beside.seq;
    if (room.members) {
      hub.since = beside.seq;
    }
    hub.caught = false;
    automatic = true;
    hub.tries = 0;
    // The seat is here now. Closed any sooner, one of these could have taken it along; and one whose join is still on its
    // way would take it, and then give it up: the hub closes those.
    stale = stale.filter(socket => socket.isLate || socket.close());
    become('joined');
    on.joined(room, beside, same);
    pull(ANSWER_MS);
  }

  function answered(room, beside) {
    if (beside.ref === pulled) {
      rest();
      pulled = null;
      hub.caught = true;
      on.caught(room);
    }
  }

  function next(body, beside) {
    if (beside.seq <= hub.seen) {
      // There already.
      return;
    }
    if (beside.seq !== hub.seen + 1) {
      on.hole();
    }
    hub.seen = beside.seq;
    const { newJoinMember, newLeaveMember } = body.textData.data;
    const me = wanted.member.id;
    if (newJoinMember && newJoinMember.id === me) {
      // It came back when nobody sat here any more: its token is good from here on.
      hub.since = beside.seq;
    }
    on.frame(body);
    // What is heard again may tell of a removal that is over.
    if (hub.caught && beside.reason === 'removed' && newLeaveMember && newLeaveMember.id === me) {
      removed();
    }
  }

  function removed() {
    drop();
    become('closed', 0, { removed: true });
  }

  function refused(reply) {
    const duplicate = reply.msg === DUPLICATE && !reply.code;
    if (is('connecting')) {
      // Where nobody asked, the hub is asking the connection that broke whether it still lives; it soon won't.
      const why = { msg: String(reply.msg), code: reply.code, duplicate, held: duplicate && automatic };
      if (why.held || (automatic && PASSING_CODES.includes(reply.code))) {
        later(why, RETRY_FIRST_MS);
      } else {
        rest();
        become('refused', 0, why);
      }
    } else if (is('joined') && reply.ref === pulled && reply.code === 'not_joined') {
      removed();
    } else if (is('joined')) {
      on.failure(reply);
    }
  }

  // ---- Tools ----

  function beat() {
    if (!is('out') && send({ msgType: 1 })) {
      beaten = performance.now();
    }
  }

  function send(request) {
    if (!socket || socket.readyState !== WebSocket.OPEN) {
      return false;
    }
    socket.send(JSON.stringify(request));
    return true;
  }

  // Hangs up, and means it: the room sees whoever sat there leave.
  function drop() {
    rest();
    giveUp();
    stale.forEach(socket => socket.close());
    stale = [];
  }

  // Looks no further at the present connection. It may only be slow: a close that arrives late would give up the seat
  // that the next one is to have.
  function giveUp() {
    const old = socket;
    socket = pulled = null;
    if (old) {
      old.onopen = old.onmessage = old.onclose = null;
      if (old.readyState === WebSocket.OPEN) {
        old.isLate = is('connecting');
        late += old.isLate;
        stale.push(old);
      } else {
        old.close();
      }
    }
  }

  function wait(ms, then) {
    clearTimeout(timer);
    timer = setTimeout(then, ms);
  }

  function rest() {
    clearTimeout(timer);
  }

  function become(name, until = 0, why = null) {
    hub.state = { name, until, why };
    on.state(hub.state);
  }

  setInterval(beat, HEARTBEAT_MS);
  addEventListener('online', () => look(true));
  addEventListener('offline', () => look(false));
  document.addEventListener('visibilitychange', () => {
    beat();
    if (!document.hidden) {
      look(false);
    }
  });
  return hub;
}
