// One room: what is seen of it and done in it.
//
// Owns: its connection, its part of the page (one copy of the template), and how people, talk, hands, polls and attendance
// go together.
// Refuses to know: other rooms, the form in which one gets in, and the words (words.js).

import { arrange, button, make, nameElement, nameOf } from './element.js';
import { Attendance } from './attendance.js';
import { Hands } from './hands.js';
import { Hub, MESSAGE_BYTES, address } from './hub.js';
import { BROWSER, TAB, drawId, me, recallThing, remember, rememberThing } from './memory.js';
import { Outbox } from './outbox.js';
import { People } from './people.js';
import { CHOICES_MOST, Polls } from './poll.js';
import { Receipts } from './receipts.js';
import { TALK_MOST, Talk } from './talk.js';
import { dress, known, label, say, text } from './words.js';

// The tries of one break after which the page makes a notice of it. The first two take less than a
// second, and a notice that flashes up and goes is worse than none.
const NOTICED_TRIES = 3;
// A message that is still not in the room after this is shown to be waiting. Most are there much sooner.
const WAITING_MS = 400;
// The hub keeps 1024 frames of a room unless told otherwise, and gives all that it is asked for or none. After a reload
// a page asks for fewer, since some will have come meanwhile.
const HEARD_AGAIN = 900;
// Whoever is removed stays out for the rest of a lesson.
const REMOVED_S = 3600;
// A lively room would otherwise have the browser write all the time.
const KEEP_MS = 1000;

const JOIN = 1;
const LEAVE = 2;
const CHAT = 3;
const RULE = 4;
const REMOVE = 5;
const HAND = 100;
const POLL = 101;
// Who came in unseen by the room asks everybody to say again what is up and open.
const ASK = 102;

// The hub's own words, and its code for whoever is asked about it.
function hubWords(reply) {
  return reply.code ? reply.msg + ' (' + reply.code + ')' : String(reply.msg);
}

export class Room {
  /** `app`: `changed()` when the rest of the page should look at this room; `left(room)`; `isShown(room)`. */
  constructor(app) {
    this.app = app;
    const copy = document.getElementById('a-room').content.cloneNode(true);
    this.at = {};
    copy.querySelectorAll('[id]').forEach(element => { this.at[element.id] = element; });
    dress(copy);
    const at = this.at;
    this.bar = [at.title, at.state, at.invite, at.leave];

    this.number = null;
    this.name = null;
    this.inside = false;
    this.unread = 0;
    this.rule = { owner: null, locked: false, quiet: false };
    this.out = new Map(); // id to member: who was removed
    this.asks = false; // whether the room has to be asked what is up and open
    this.heard = 0; // up to this number all was seen before the page was loaded
    this.partial = false; // whether more was seen then than will be heard again
    this.ahead = 0; // the hub's clock before ours
    this.broken = null; // what broke the connection, told once it is mended: most breaks are over before it could be read
    this.ticking = this.drawing = this.keeping = this.redrawing = 0;

    this.people = new People(at.members, me, {
      remove: id => this.order(REMOVE, { id, forS: REMOVED_S }),
      isOwner: id => this.isOwner(id),
      isUp: id => this.up.has(id),
    });
    this.up = new Set();
    this.talk = new Talk(at.talk, at.log, me);
    this.lesson = new Attendance();
    this.hands = new Hands(me, {
      say: up => this.put('hand', HAND, { up }),
      saying: () => this.outbox.has('hand'),
    });
    this.polls = new Polls(at.polls, me, {
      say: (key, content) => this.put(key, POLL, content),
      saying: key => this.outbox.has(key),
      isOwner: id => this.isOwner(id),
    });
    this.outbox = new Outbox(entry => this.hub.say(entry.type, { content: entry.content }, entry.ref), () => this.waitingChanged());
    this.receipts = new Receipts(
      seqs => this.hub.receive(this.hub.nextRef(), seqs),
      // Everybody else in the room, and nobody who has left it after he received something.
      (seq, n) => this.talk.received(seq, n, Math.max(n, this.people.size - 1)),
    );
    this.hub = new Hub(address(), {
      state: state => this.stand(state),
      joined: (data, how) => this.entered(data, how),
      caught: data => this.caught(data),
      frame: body => this.hear(body),
      hole: () => this.talk.note('gap'),
      answer: body => this.answered(body.textData),
      receipt: data => this.receipts.received(data.from.id, data.seq),
      failure: reply => this.failed(reply),
    });
    this.prepare();
  }

  prepare() {
    const at = this.at;
    at.retry.onclick = () => this.hub.retry();
    at.back.onclick = at.leave.onclick = () => this.hub.leave();
    at.compose.onsubmit = event => {
      event.preventDefault();
      this.sayTyped();
    };
    at.text.onkeydown = event => {
      // The Enter that picks a word in a Chinese input method is not meant for us. Safari says so only
      // by the key code.
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
        event.preventDefault();
        this.sayTyped();
      }
    };
    at.who.open = matchMedia('(min-width: 48em)').matches;
    at.hand.onclick = () => {
      this.hands.want(!this.hands.wanted);
      this.changed();
    };
    at.lock.onclick = () => this.order(RULE, { locked: !this.rule.locked });
    at.quiet.onclick = () => this.order(RULE, { quiet: !this.rule.quiet });
    at.attendance.onclick = () => {
      const titles = ['name', 'number', 'joined', 'left', 'minutes'].map(title => text('table_' + title));
      this.lesson.download(this.number, titles, this.now());
    };
    this.preparePoll();
  }

  preparePoll() {
    const at = this.at;
    const choices = [];
    const grow = () => {
      const used = choices.filter(choice => choice.value.trim() !== '').length;
      choices.forEach((choice, i) => { choice.hidden = i > Math.max(1, used) && choice.value === ''; });
    };
    for (let n = 1; n <= CHOICES_MOST; n += 1) {
      const choice = make('input', 'choice');
      choice.maxLength = 100;
      choice.autocomplete = 'off';
      choice.dir = 'auto';
      choice.oninput = grow;
      label(choice, 'poll_choice', { n });
      choice.dataset.hint = 'poll_choice';
      choices.push(choice);
      at['poll-form'].insertBefore(choice, at['poll-wrong']);
    }
    const open = shown => {
      at['poll-form'].hidden = !shown;
      at['poll-open'].setAttribute('aria-expanded', String(shown));
      say(at['poll-wrong'], null);
      grow();
      dress(at['poll-form']);
      (shown ? at['poll-question'] : at['poll-open']).focus();
    };
    at['poll-open'].onclick = () => open(at['poll-form'].hidden);
    at['poll-cancel'].onclick = () => open(false);
    at['poll-form'].onsubmit = event => {
      event.preventDefault();
      const given = choices.map(choice => choice.value.trim()).filter(choice => choice !== '');
      if (given.length < 2) {
        say(at['poll-wrong'], 'poll_few');
        return;
      }
      this.polls.ask(drawId(), at['poll-question'].value.trim(), given);
      choices.concat(at['poll-question']).forEach(field => { field.value = ''; });
      open(false);
      this.changed();
    };
  }

  /** Takes a seat there, or takes it again after a reload. */
  enter(member, number, codes) {
    const own = recallThing(TAB, 'own.' + number);
    const lesson = recallThing(TAB, 'lesson.' + number);
    // A teacher who closed the tab is still the teacher.
    const seat = recallThing(TAB, 'seat.' + number) || recallThing(BROWSER, 'teacher.' + number);
    this.number = number;
    this.codes = codes;
    if (own) {
      this.hands.wanted = own.hand;
      this.polls.restore(own.polls);
    }
    if (lesson) {
      this.lesson.restore(lesson);
    }
    if (seat) {
      this.heard = seat.seen;
      this.partial = seat.seen - HEARD_AGAIN > seat.since;
    }
    this.hub.join(member, number, codes, seat && {
      token: seat.token,
      since: seat.since,
      seen: this.partial ? seat.seen - HEARD_AGAIN : seat.since,
    });
  }

  keep() {
    const { hub, number } = this;
    clearTimeout(this.keeping);
    this.keeping = 0;
    if (hub.token === null || !this.inside) {
      return;
    }
    const seat = { token: hub.token, since: hub.since, seen: hub.caught ? hub.seen : this.heard };
    rememberThing(TAB, 'seat.' + number, seat);
    rememberThing(TAB, 'own.' + number, { hand: this.hands.wanted, polls: this.polls.kept() });
    rememberThing(TAB, 'lesson.' + number, this.lesson.kept());
    rememberThing(TAB, 'codes.' + number, this.codes);
    if (this.isOwner(me)) {
      rememberThing(BROWSER, 'teacher.' + number, seat);
    }
  }

  now() {
    return Date.now() + this.ahead;
  }

  isOwner(id) {
    return id === this.rule.owner;
  }

  // ---- What is heard ----

  hear(body) {
    const said = body.textData || {};
    const data = said.data || {};
    const { ref, seq, time, reason } = body.extendFields || {};
    const isNews = this.lesson.isNews(seq, time);
    const { newJoinMember: joiner, newLeaveMember: leaver, from, content } = data;
    if (this.hub.caught && time) {
      this.ahead = time - Date.now();
    }
    if (said.dataType === JOIN && joiner) {
      this.people.seat(joiner);
      this.out.delete(joiner.id);
      this.talk.note('joined', joiner, time);
      if (isNews) {
        this.lesson.came(joiner, time);
      }
      this.ruled(data);
      if (joiner.id !== me) {
        this.round();
      }
    } else if (said.dataType === LEAVE && leaver) {
      const key = 'left_' + reason;
      this.people.unseat(leaver.id);
      this.hands.lower(leaver.id);
      this.polls.leave(leaver.id);
      this.talk.note(known(key) ? key : 'left', leaver, time);
      if (isNews) {
        this.lesson.went(leaver, time);
      }
      if (reason === 'removed') {
        this.out.set(leaver.id, leaver);
      }
      this.ruled(data);
    } else if (said.dataType === RULE) {
      this.ruled(data, time);
    } else if (from) {
      if (from.id === me) {
        this.outbox.confirm(ref);
      }
      if (said.dataType === CHAT) {
        this.chat(from, String(content), time, seq);
      } else if (content !== null && typeof content === 'object') {
        this.told(from, said.dataType, content);
      }
    }
    this.changed();
  }

  chat(from, content, time, seq) {
    this.talk.chat(from, content, time, seq);
    if (from.id === me) {
      this.receipts.watch(seq, TALK_MOST);
    } else if (seq > this.heard) {
      this.receipts.arrived(seq);
      if (!this.app.isShown(this)) {
        this.unread += 1;
        this.app.changed();
      }
    }
  }

  // What the room's pages tell each other.
  told(from, type, content) {
    if (type === HAND) {
      this.hands.hear(from.id, content);
    } else if (type === POLL) {
      this.polls.hear(from, content);
    } else if (type === ASK) {
      this.round();
    }
  }

  round() {
    this.hands.round();
    this.polls.round();
  }

  // Whose room it is, and what holds in it; a note for what changed at `time`.
  ruled(room, time) {
    const was = this.rule;
    this.rule = { owner: room.owner ? room.owner.id : null, locked: room.locked === true, quiet: room.quiet === true };
    ['locked', 'quiet'].forEach(key => {
      if (time && was[key] !== this.rule[key]) {
        this.talk.note('now_' + (this.rule[key] ? '' : 'un') + key, null, time);
      }
    });
  }

  answered({ dataType, data }) {
    if (dataType === REMOVE && data.forS === 0) {
      this.out.delete(data.id);
      this.changed();
    }
  }

  // Something was heard or done: what follows from it, and what is seen of it.
  changed() {
    if (this.hub.caught) {
      this.hands.settle();
      this.polls.settle();
    }
    this.keeping = this.keeping || setTimeout(() => this.keep(), KEEP_MS);
    // A thousand frames that come at once are drawn once.
    this.redrawing = this.redrawing || setTimeout(() => this.draw());
  }

  // ---- What is said ----

  put(key, type, content) {
    this.outbox.put(this.hub.nextRef(), key, type, content);
  }

  order(type, data) {
    say(this.at.problem, null);
    this.hub.say(type, data, this.hub.nextRef());
  }

  sayTyped() {
    const box = this.at.text;
    const ref = this.hub.nextRef();
    const n = this.hub.size(ref, box.value);
    if (box.value.trim() === '') {
      return;
    }
    if (n > MESSAGE_BYTES) {
      say(this.at.problem, 'text_long', { n, most: MESSAGE_BYTES });
    } else if (this.hub.state.name === 'refused' || this.hub.state.name === 'closed') {
      say(this.at.problem, 'text_away');
    } else {
      this.outbox.add(ref, CHAT, box.value);
      box.value = '';
      say(this.at.problem, null);
    }
  }

  giveBack(texts, key) {
    if (texts.length > 0) {
      const box = this.at.text;
      box.value = texts.concat(box.value === '' ? [] : [box.value]).join('\n');
      say(this.at.problem, key);
    }
  }

  failed(reply) {
    const entry = this.outbox.refuse(reply.ref, reply.code === 'rate_limited');
    if (entry && entry.key === null) {
      this.giveBack([entry.content], null);
    } else if (entry && entry.key === 'hand') {
      this.hands.wanted = false;
    } else if (entry && entry.type === POLL) {
      this.polls.refused(entry.key);
    }
    // That a message is gone which somebody received is nobody's concern here, and what came too fast is tried again.
    if (reply.code !== 'no_such_message' && reply.code !== 'rate_limited') {
      say(this.at.problem, null);
      this.at.problem.textContent = hubWords(reply);
    }
    this.changed();
  }

  // What is not in the room yet stands under the talk, in the order in which it will go out.
  waitingChanged() {
    clearTimeout(this.drawing);
    if (this.outbox.typed().length === 0) {
      this.drawWaiting();
    } else {
      this.drawing = setTimeout(() => this.drawWaiting(), this.at.waiting.hidden ? WAITING_MS : 0);
    }
  }

  drawWaiting() {
    const typed = this.outbox.typed();
    this.at.waiting.textContent = '';
    typed.forEach(content => {
      const item = make('li', '', content);
      item.dir = 'auto';
      this.at.waiting.append(item);
    });
    this.at['waiting-words'].hidden = this.at.waiting.hidden = typed.length === 0;
    this.talk.follow();
  }

  // ---- What is seen ----

  draw() {
    const { at, rule } = this;
    const isMine = this.isOwner(me);
    const ids = this.hands.ids();
    this.redrawing = 0;
    this.up = new Set(ids);
    at.count.textContent = this.people.size;
    say(at.people, 'people', { n: this.people.size });
    this.people.draw();
    this.polls.draw();

    const drawn = ids.map(id => id + nameOf(this.people.member(id))).join();
    if (at.hands.dataset.drawn !== drawn) {
      at.hands.dataset.drawn = drawn;
      at.hands.textContent = '';
      ids.forEach(id => {
        const item = make('li', id === me ? 'me' : '', nameElement(this.people.member(id)));
        item.dataset.id = id;
        at.hands.append(item);
      });
    }
    at.raised.hidden = ids.length === 0;
    at.hand.setAttribute('aria-pressed', String(this.hands.wanted));

    at.place.classList.toggle('owner', isMine);
    at.tools.hidden = !isMine;
    at.lock.setAttribute('aria-pressed', String(rule.locked));
    at.quiet.setAttribute('aria-pressed', String(rule.quiet));
    // A teacher opens polls all the time, others hardly ever.
    const corner = isMine ? at.actions : at.more;
    if (at['poll-open'].parentNode !== corner) {
      corner.append(at['poll-open']);
    }
    const away = Array.from(this.out.values());
    at.out.hidden = away.length === 0;
    arrange(at.removed, away.map(member => {
      member.item = member.item || this.makeRemoved(member);
      return member.item;
    }));

    say(at['is-locked'], rule.locked ? 'is_locked' : null);
    say(at['is-quiet'], !rule.quiet ? null : isMine ? 'is_quiet_mine' : 'is_quiet');
    at.rules.hidden = !rule.locked && !rule.quiet;
    at.text.disabled = at.send.disabled = rule.quiet && !isMine;
  }

  makeRemoved(member) {
    const back = button('quiet', () => this.order(REMOVE, { id: member.id, forS: 0 }));
    say(back, 'let_in');
    label(back, 'let_in_who', { name: nameOf(member) });
    return make('li', '', nameElement(member), ' ', back);
  }

  /** The language is another one now. */
  dress() {
    this.bar.concat(this.at.place).forEach(part => dress({ querySelectorAll: at => part.parentNode
      ? part.parentNode.querySelectorAll(at) : part.querySelectorAll(at) }));
  }

  /** The room is looked at now, in place of another. */
  shown() {
    this.unread = 0;
    this.talk.follow();
  }

  get title() {
    return this.name || this.number;
  }

  // ---- Where things stand ----

  entered(data, how) {
    const { at, hub } = this;
    const returned = how.again && this.inside;
    const isNew = !this.inside;
    if (how.time) {
      this.ahead = how.time - Date.now();
    }
    if (!how.complete) {
      this.people.are(data.members);
      this.lesson.seen = hub.seen;
      this.lesson.are(data.members, this.now());
      // What a number meant before is not what it means now, and not all that was said will come.
      this.receipts.forget();
      this.talk.forgetNumbers();
      this.heard = 0;
      this.hands.doubt();
      this.polls.doubt();
      // The room saw a join only where the joiner got a new seat, the last.
      this.asks = how.same || data.members[data.members.length - 1].id !== me;
      if (returned) {
        if (this.broken) {
          this.talk.note(this.broken.key, null, 0, this.broken.filling);
        }
        this.talk.note(how.gap ? 'gap' : 'returned');
        this.giveBack(this.outbox.doubt(), 'text_unsure');
      } else {
        this.talk.clear();
        say(at.problem, null);
        this.talk.note(how.gap && how.same ? 'gap' : 'entered');
      }
    } else if (isNew && this.partial) {
      this.asks = true;
      this.talk.note('earlier');
    }
    this.broken = null;
    this.ruled(data);
    this.name = data.name || this.number;
    at.title.removeAttribute('data-say');
    at.title.textContent = this.name;
    at.invite.href = '/join?' + new URLSearchParams({ room: this.number });
    this.view(true);
    this.draw();
    this.app.changed();
    if (!returned && this.app.isShown(this)) {
      this.talk.follow();
      // On a touch screen focus in the box would bring up the keyboard over what is to be read.
      (matchMedia('(pointer: coarse)').matches ? at.title : at.text).focus();
    }
    this.keep();
  }

  // All of the past is known.
  caught(data) {
    const ids = new Set(data.members.map(member => member.id));
    this.people.are(data.members);
    this.lesson.are(data.members, this.now());
    this.hands.only(ids);
    this.polls.only(ids);
    this.ruled(data);
    this.outbox.resume();
    this.receipts.flush();
    if (this.asks) {
      this.asks = false;
      this.put('ask', ASK, {});
    }
    this.changed();
    this.keep();
  }

  view(inside) {
    this.inside = inside;
    this.at.inside.hidden = this.at.leave.hidden = this.at.invite.hidden = !inside;
    this.at.place.classList.toggle('in', inside);
  }

  // What led here, in the reader's words; null where the hub's own say enough.
  explain(state) {
    const why = state.why;
    if (why.msg !== undefined) {
      return why.held ? 'duplicate_held' : why.duplicate ? 'duplicate' : null;
    }
    if (state.name === 'offline') {
      return 'closed_offline';
    }
    if (why.removed) {
      return 'closed_removed';
    }
    if (why.close === null) {
      return 'closed_unreachable';
    }
    if (why.close === 1005 || why.close === 1006) {
      return 'closed_lost';
    }
    return known('closed_' + why.close) ? 'closed_' + why.close : 'closed_other';
  }

  tick() {
    const { until } = this.hub.state;
    const seconds = Math.ceil((until - performance.now()) / 1000);
    // The first tries come faster than anybody reads.
    say(this.at.countdown, until > 0 && seconds > 1 ? 'countdown' : null, { n: seconds });
  }

  stand(state) {
    const { at, hub } = this;
    const why = state.why;
    const trying = why && (state.until > 0 || state.name === 'connecting');
    at.state.dataset.state = state.name;
    say(at.state.firstElementChild, 'state_' + state.name);

    clearInterval(this.ticking);
    this.tick();
    if (state.until > 0) {
      this.ticking = setInterval(() => this.tick(), 250);
    }

    if (why) {
      const key = this.explain(state);
      const filling = { code: why.close };
      if (state.until > 0 && key !== null && this.broken === null) {
        this.broken = { key, filling };
      }
      at['notice-hub'].hidden = why.msg === undefined;
      if (why.msg !== undefined && at['notice-hub'].textContent !== hubWords(why)) {
        at['notice-hub'].textContent = hubWords(why);
      }
      at['notice-words'].hidden = key === null;
      say(at['notice-words'], key, filling);
      at['notice-hope'].hidden = !trying;
      say(at['notice-hope'], trying ? 'coming_back' : null);
      say(at.retry, trying ? 'try_now' : 'try_again');
    }
    at.notice.hidden = !why || (trying && hub.tries < NOTICED_TRIES);
    at.back.hidden = !this.inside;
    at.retry.disabled = state.name === 'connecting';

    if (why && why.removed) {
      this.hands.wanted = false;
      this.polls.mine = null;
      this.changed();
    }
    if (state.name === 'out') {
      this.left();
    } else if (state.name === 'refused' || state.name === 'closed') {
      this.giveBack(this.outbox.empty(), 'text_unsure');
    } else {
      // Nothing goes out until all of the past is known.
      this.outbox.pause();
    }
    this.app.changed();
  }

  left() {
    ['seat.', 'own.', 'lesson.', 'codes.'].forEach(key => remember(TAB, key + this.number, null));
    this.giveBack(this.outbox.empty(), 'text_unsure');
    this.view(false);
    this.people.clear();
    this.hands.clear();
    this.polls.clear();
    this.lesson.clear();
    this.talk.clear();
    this.out.clear();
    this.rule = { owner: null, locked: false, quiet: false };
    this.heard = 0;
    this.partial = this.asks = false;
    this.number = this.name = null;
    say(this.at.title, 'classroom');
    this.draw();
    this.app.left(this);
  }
}
