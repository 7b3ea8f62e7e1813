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
// The hub expects a sign of life every 120 s. Browsers slow the timers of a hidden page to one
// a minute, which is still in time.
const HEARTBEAT_MS = 30000;

// Coming back after these by itself would be wrong: the hub threw this page out for what it did,
// or the same person sits elsewhere now and the two would throw each other out forever.
const FINAL_CLOSES = [1008, 4001];
const CLOSE_BUSY = 1013;
// A refusal that may be over in a moment: worth trying again where nobody is there to do it.
const PASSING_CODES = ['room_full', 'hub_full', 'rate_limited'];
// The one failure that has no code, and is known by its exact words.
const DUPLICATE = '连接被拒,您已在其他页面或客户端加入该房间,请先将其退出!';

/** How many bytes a text takes on the wire. */
export function bytes(text) {
  return new TextEncoder().encode(text).length;
}

/** Where the hub listens that served this page. */
export function address() {
  return (location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + '/ws';
}

export class Hub {
  /**
   * `on` hears of everything:
   * `state({name, until, why})`, where `why` is null or what led here:
   *   `{close}` (a close code; null if the hub was never reached), `{removed: true}`,
   *   or `{msg, code, duplicate}` (a refusal; `held` if it is only the seat's own past);
   * `joined(room, {again, complete, gap, same, time})` for the answer to one's own join: `again` if nobody asked for it,
   *   `complete` if all that was missed follows as frames, `gap` if not all of it can be had, `same` if it is the seat of the
   *   token that was shown, `time` by the hub's clock;
   * `caught(room)` once every frame from before has come, and after a break all that was sent before it is known;
   *   and again whenever it was asked who is there;
   * `frame(body)` for what the room hears, each once and in order; `hole()` where one should have come and did not;
   * `answer(body)` for what the hub tells this page alone; `receipt(data)` for who has received what;
   * `failure(reply)` for what went wrong.
   */
  constructor(url, on) {
    this.url = url;
    this.on = on;
    this.socket = null;
    this.stale = []; // connections given up, which may still hold the seat
    this.wanted = null; // {member, room, codes} while somebody wants to be there
    this.token = null; // of the seat, as the hub gave it
    this.since = null; // all frames after this one may be asked for with that token
    this.seen = null; // the number of the last frame seen; null if what came before is not on the page
    this.pulled = null; // the `ref` of a pull that was not answered yet
    this.caught = false; // whether what came before this seat was taken has come
    this.beaten = 0; // when the hub last got a sign of life
    this.automatic = false; // whether the present try is our own idea
    this.tries = 0;
    // Nobody else's `ref` is like ours, and none of an earlier page either.
    this.page = Math.random().toString(36).slice(2, 10);
    this.refs = 0;
    this.timer = 0;
    this.state = { name: 'out', until: 0, why: null };

    setInterval(() => this.beat(), HEARTBEAT_MS);
    addEventListener('online', () => this.look());
    addEventListener('offline', () => this.look());
    document.addEventListener('visibilitychange', () => {
      this.beat();
      if (document.visibilityState === 'visible') {
        this.look();
      }
    });
  }

  /**
   * Takes a seat, and keeps it until `leave`. `codes` is what the hub may want to be shown (`passcode`, `ownerPasscode`). With
   * the `token` of an earlier seat in this room it is that one again, and all that came after number `seen` is heard again.
   */
  join(member, room, codes, past) {
    this.wanted = { member, room, codes };
    this.token = past ? past.token : null;
    this.since = past ? past.since : null;
    this.seen = past ? past.seen : null;
    this.automatic = false;
    this.tries = 0;
    this.state.why = null;
    this.attempt();
  }

  /** Tries again now: on the connection that was refused if it still stands, else on a new one. */
  retry() {
    if (!this.wanted || this.state.name === 'connecting' || this.state.name === 'joined') {
      return;
    }
    if (this.state.name === 'refused' || this.state.name === 'closed') {
      // A person asked, so a person gets the answer.
      this.automatic = false;
      this.state.why = null;
    }
    this.tries = 0;
    this.attempt();
  }

  /** Gives the seat up. */
  leave() {
    if (this.state.name === 'joined') {
      this.say(2, {}, this.nextRef());
    }
    this.wanted = this.token = this.since = this.seen = null;
    this.rest();
    this.drop(); // what was sent goes out first
    this.become('out');
  }

  /** How many bytes a chat message takes as it is sent. */
  size(ref, content) {
    return bytes(JSON.stringify(this.message(3, 3, { content }, ref)));
  }

  /** Says something to the room, or asks it of the hub; whether it was sent. The hub's echo, or its refusal, has the same `ref`. */
  say(dataType, data, ref) {
    return this.state.name === 'joined' && this.send(this.message(3, dataType, data, ref));
  }

  /** Tells the authors of these messages, up to 64, that they have arrived; whether that was sent. */
  receive(ref, seqs) {
    return this.state.name === 'joined' && this.send(this.message(4, 3, { seq: seqs }, ref));
  }

  /** A `ref` that nobody has used. */
  nextRef() {
    this.refs += 1;
    return this.page + '.' + this.refs;
  }

  message(msgType, dataType, data, ref) {
    const roomNumber = this.wanted ? this.wanted.room : '';
    return { msgType, textData: { dataType, data: Object.assign({ roomNumber }, data) }, extendFields: { ref } };
  }

  // ---- The way in ----

  attempt() {
    this.become('connecting', 0, this.state.why);
    this.wait(ATTEMPT_MS, () => this.broken(null));
    if (this.socket && this.socket.readyState === WebSocket.OPEN) {
      this.ask();
      return;
    }
    this.giveUp();
    let opened = false;
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.onopen = () => {
      opened = true;
      this.ask();
    };
    socket.onmessage = event => this.heard(event.data);
    socket.onclose = event => {
      this.socket = null;
      this.broken(opened ? event.code : null);
    };
  }

  ask() {
    const request = this.message(2, 1, { from: this.wanted.member }, this.nextRef());
    // The hub reads null as absent.
    Object.assign(request.extendFields, { resumeToken: this.token, lastSeq: this.seen }, this.wanted.codes);
    this.send(request);
  }

  // The answer stands behind all that the hub had for this page when it was asked. Until it comes, something must.
  pull() {
    this.pulled = this.nextRef();
    this.send(this.message(5, 1, {}, this.pulled));
    this.wait(ANSWER_MS, () => this.broken(1006));
  }

  // The connection is gone, or as good as gone. `code` is null if it never stood.
  broken(code) {
    this.giveUp();
    switch (this.state.name) {
      case 'connecting':
      case 'joined':
        break;
      case 'waiting':
      case 'offline':
        // The next try is settled already. It was to be on this connection, and will be on another.
        if (FINAL_CLOSES.includes(code)) {
          break;
        }
        return;
      default:
        // Refused: the hub hangs up on who never sits down. The words of the refusal matter more.
        return;
    }
    if (FINAL_CLOSES.includes(code)) {
      this.rest();
      this.become('closed', 0, { close: code });
    } else {
      // That the hub can't be reached again yet says less than why it was lost.
      const why = this.state.why;
      const known = code === null && why && why.close !== undefined;
      this.later(known ? why : { close: code }, code === CLOSE_BUSY ? BUSY_FIRST_MS : RETRY_FIRST_MS);
    }
  }

  later(why, first) {
    // From half of it to all of it, so that a class does not come back in one instant.
    const most = Math.min(first * Math.pow(2, this.tries), RETRY_MOST_MS);
    const delay = most * (0.5 + Math.random() / 2);
    this.tries += 1;
    this.wait(delay, () => this.attempt());
    // The browser's word on the network decides what is shown and nothing else: a hub on this very
    // device, or on a network that the browser thinks little of, is there all the same.
    this.become(navigator.onLine === false ? 'offline' : 'waiting', performance.now() + delay, why);
  }

  // Something changed outside (the network, or somebody looks at the page again).
  look() {
    if (this.state.name === 'waiting' || this.state.name === 'offline') {
      if (navigator.onLine === false) {
        this.become('offline', this.state.until, this.state.why);
      } else {
        this.tries = 0;
        this.attempt();
      }
    } else if (this.state.name === 'joined' && this.pulled === null) {
      // A connection that died while the device slept looks alive for minutes, since the hub never
      // answers a heartbeat. It does answer this.
      this.pull();
    }
  }

  // ---- What is heard ----

  heard(data) {
    let reply = null;
    try {
      reply = JSON.parse(data);
    } catch (error) {
      return; // not the hub's language
    }
    if (reply === null || typeof reply !== 'object') {
      return;
    }
    if (performance.now() - this.beaten > HEARTBEAT_MS) {
      this.beat();
    }
    if (this.state.name === 'joined' && this.pulled !== null) {
      this.wait(ANSWER_MS, () => this.broken(1006)); // what stands before the answer may be long
    }
    if (reply.status === 1) {
      this.granted(reply.resultBody || {});
    } else {
      this.refused(reply);
    }
  }

  granted(body) {
    const text = body.textData || {};
    const data = text.data || {};
    const beside = body.extendFields || {};
    // Only the answer to one's own join comes with a token.
    if (body.msgType === 3 && text.dataType === 1 && beside.resumeToken) {
      if (this.state.name === 'connecting') {
        this.seated(data, beside);
      }
    } else if (this.state.name === 'joined') {
      if (body.msgType === 4) {
        this.on.receipt(data);
      } else if (body.msgType === 5) {
        this.answered(data, beside);
      } else if (beside.seq === undefined) {
        this.on.answer(body);
      } else {
        this.next(body, beside);
      }
    }
  }

  seated(room, beside) {
    const complete = !Array.isArray(room.members);
    const again = this.automatic;
    const same = this.token === beside.resumeToken;
    this.token = beside.resumeToken;
    this.seen = beside.seq;
    if (!complete) {
      this.since = beside.seq;
    }
    this.caught = false;
    this.automatic = true;
    this.tries = 0;
    // The seat is here now. Closed any sooner, one of these could have taken it along.
    this.stale.splice(0).forEach(socket => socket.close());
    this.become('joined');
    this.on.joined(room, { again, complete, gap: beside.gap === true, same, time: beside.time });
    this.pull();
  }

  answered(room, beside) {
    if (beside.ref === this.pulled) {
      this.rest();
      this.pulled = null;
      this.caught = true;
      this.on.caught(room);
    }
  }

  next(body, beside) {
    if (beside.seq <= this.seen) {
      return; // there already
    }
    if (beside.seq !== this.seen + 1) {
      this.on.hole();
    }
    this.seen = beside.seq;
    const { newJoinMember, newLeaveMember } = body.textData.data;
    const me = this.wanted.member.id;
    if (newJoinMember && newJoinMember.id === me) {
      // It came back when nobody sat here any more: its token is good from here on.
      this.since = beside.seq;
    }
    this.on.frame(body);
    // What is heard again may tell of a removal that is over.
    if (this.caught && beside.reason === 'removed' && newLeaveMember && newLeaveMember.id === me) {
      this.removed();
    }
  }

  removed() {
    this.rest();
    this.drop();
    this.become('closed', 0, { removed: true });
  }

  refused(reply) {
    const duplicate = reply.msg === DUPLICATE && !reply.code;
    if (this.state.name === 'connecting') {
      const why = { msg: String(reply.msg), code: reply.code || null, duplicate, held: false };
      if (this.automatic && (duplicate || PASSING_CODES.includes(reply.code))) {
        // The hub is asking the connection that broke whether it still lives; it soon won't.
        why.held = duplicate;
        this.later(why, RETRY_FIRST_MS);
      } else {
        this.rest();
        this.become('refused', 0, why);
      }
    } else if (this.state.name === 'joined' && reply.ref === this.pulled && reply.code === 'not_joined') {
      this.removed();
    } else if (this.state.name === 'joined') {
      this.on.failure(reply);
    }
  }

  // ---- Tools ----

  beat() {
    if (this.state.name !== 'out' && this.send({ msgType: 1 })) {
      this.beaten = performance.now();
    }
  }

  send(request) {
    if (!this.socket || this.socket.readyState !== WebSocket.OPEN) {
      return false;
    }
    this.socket.send(JSON.stringify(request));
    return true;
  }

  // Hangs up, and means it: the room sees whoever sat there leave.
  drop() {
    this.giveUp();
    this.stale.splice(0).forEach(socket => socket.close());
  }

  // Looks no further at the present connection. It may only be slow: a close that arrives late would give up the seat
  // that the next one is to have.
  giveUp() {
    const socket = this.socket;
    this.socket = this.pulled = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      if (socket.readyState === WebSocket.OPEN) {
        this.stale.push(socket);
      } else {
        socket.close();
      }
    }
  }

  wait(ms, then) {
    clearTimeout(this.timer);
    this.timer = setTimeout(then, ms);
  }

  rest() {
    clearTimeout(this.timer);
  }

  become(name, until, why) {
    this.state = { name, until: until || 0, why: why || null };
    this.on.state(this.state);
  }
}
