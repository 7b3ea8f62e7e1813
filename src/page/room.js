// One room: what is seen of it and done in it.
//
// Owns: its connection, its part of the page (one copy of the template), what the tab keeps of it over a reload, and how
// people, talk, hands, polls and attendance go together.
// Refuses to know: other rooms, the form in which one gets in, and the words (words.js).

import { aria, arrange, make, nameElement, nameOf, sayingButton } from './element.js';
import { takeAttendance } from './attendance.js';
import { watchHands } from './hands.js';
import { MESSAGE_BYTES, openHub } from './hub.js';
import { BROWSER, TAB, me, recall, remember } from './memory.js';
import { openOutbox } from './outbox.js';
import { seatPeople } from './people.js';
import { holdPolls } from './poll.js';
import { keepReceipts } from './receipts.js';
import { hubWords, showStanding } from './standing.js';
import { TALK_MOST, openTalk } from './talk.js';
import { dress, known, say, text } from './words.js';

// A message that is still not in the room after this is shown to be waiting. Most are there much sooner.
const WAITING_MS = 400;
// The hub keeps 1024 frames of a room unless told otherwise, and gives all that it is asked for or none. After a reload
// a page asks for fewer, since some will have come meanwhile.
const HEARD_AGAIN = 900;
// Whoever is removed stays out for the rest of a lesson.
const REMOVED_S = 3600;
// What is kept of an earlier lesson is not wanted in this one, but for the seat.
const LESSON_MS = 4 * 3600000;
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

/** `app`: `changed()` when the rest of the page should look at this room; `left(room, text)` with what was not sent; `isShown(room)`. */
export function openRoom(app) {
  const copy = document.getElementById('a-room').content.cloneNode(true);
  const at = {};
  copy.querySelectorAll('[id]').forEach(element => { at[element.id] = element; });
  dress(copy);

  const room = {
    /** What stands in the header, what below it, and what is being written. */
    bar: at.bar,
    place: at.place,
    text: at.text,
    /** Where it is, and what it is called; null while one is nowhere. */
    number: null,
    title: null,
    inside: false,
    unread: 0,
  };
  // What the hub may want to be shown: the room's passcode, the teacher's.
  let codes = {};
  let rule = {};
  // Id to member: who was removed.
  const removed = new Map();
  // Whether the room has to be asked what is up and open.
  let asks = false;
  // Up to this number all was seen before the page was loaded, and whether more was than will be heard again.
  let heard = 0;
  let partial = false;
  // The hub's clock before ours.
  let ahead = 0;
  let waits = 0;
  let keeps = 0;
  let draws = 0;
  let up = new Set();

  const isOwner = id => id === rule.owner;
  const now = () => Date.now() + ahead;

  const hub = openHub({
    state: stand,
    joined: entered,
    caught,
    frame: hear,
    hole: () => talk.note('gap'),
    answer(dataType, data) {
      if (dataType === REMOVE && data.forS === 0) {
        removed.delete(data.id);
        changed();
      }
    },
    receipt: data => receipts.received(data.from.id, data.seq),
    failure: failed,
  });
  const outbox = openOutbox(hub, waitingChanged);
  const receipts = keepReceipts(
    hub.receive,
    // Everybody else in the room, and nobody who has left it after he received something.
    (seq, n) => talk.received(seq, n, Math.max(n, people.size() - 1)),
  );
  const people = seatPeople(at.members, me, {
    isOwner,
    isUp: id => up.has(id),
    remove: id => hub.say(REMOVE, { id, forS: REMOVED_S }),
  });
  const talk = openTalk(at.talk, at.log, me);
  const lesson = takeAttendance();
  const hands = watchHands(me, up => outbox.put('hand', HAND, { up }), () => outbox.has('hand'));
  const polls = holdPolls(at, me, {
    isOwner,
    changed,
    say: (key, content) => outbox.put(key, POLL, content),
    saying: outbox.has,
  });
  const standing = showStanding(at, hub);

  // ---- What is heard ----

  function hear({ textData: { dataType, data }, extendFields: { ref, seq, time, reason } }) {
    const { newJoinMember: joiner, newLeaveMember: leaver, from, content } = data;
    const isNews = lesson.isNews(seq);
    if (hub.caught) {
      ahead = time - Date.now();
    }
    if (data.number) {
      ruled(data);
    }
    if (dataType === JOIN) {
      people.seat(joiner);
      removed.delete(joiner.id);
      talk.note('joined', joiner, time);
      if (isNews) {
        lesson.came(joiner, time);
      }
      if (joiner.id !== me) {
        round();
      }
    } else if (dataType === LEAVE) {
      const key = 'left_' + reason;
      people.unseat(leaver.id);
      hands.lower(leaver.id);
      polls.leave(leaver.id);
      talk.note(known(key) ? key : 'left', leaver, time);
      if (isNews) {
        lesson.went(leaver, time);
      }
      if (reason === 'removed') {
        removed.set(leaver.id, leaver);
      }
    } else if (from) {
      if (from.id === me) {
        outbox.confirm(ref);
      }
      if (dataType === CHAT) {
        chat(from, String(content), time, seq);
      } else if (dataType === HAND) {
        hands.hear(from.id, content);
      } else if (dataType === POLL) {
        polls.hear(from, content);
      } else if (dataType === ASK) {
        round();
      }
    } else {
      // What holds here is another now, and perhaps what the room is called.
      app.changed();
    }
    changed();
  }

  function chat(from, content, time, seq) {
    talk.chat(from, content, time, seq);
    if (from.id === me) {
      receipts.watch(seq, TALK_MOST);
    } else if (seq > heard) {
      receipts.arrived(seq);
      if (!app.isShown(room)) {
        room.unread += 1;
        app.changed();
      }
    }
  }

  // Somebody is here who does not know what is up and open.
  function round() {
    hands.round();
    polls.round();
  }

  // Whose room it is, what holds in it, and what it is called.
  function ruled({ name, owner, locked, quiet }) {
    rule = { owner: owner && owner.id, locked: locked === true, quiet: quiet === true };
    say(at.title, null);
    at.title.textContent = room.title = name || room.number;
  }

  // Something was heard or done: what follows from it, and what is seen of it.
  function changed() {
    if (hub.caught) {
      hands.settle();
      polls.settle();
    }
    keeps = keeps || setTimeout(room.keep, KEEP_MS);
    // A thousand frames that come at once are drawn once.
    draws = draws || setTimeout(draw);
  }

  // ---- What is said ----

  function sayTyped(event) {
    const content = at.text.value;
    const n = hub.size(content);
    const isAway = ['refused', 'closed'].includes(hub.state.name);
    event.preventDefault();
    if (content.trim() === '') {
      return;
    }
    if (n > MESSAGE_BYTES) {
      say(at.problem, 'too_long', { n, most: MESSAGE_BYTES });
    } else if (isAway) {
      say(at.problem, 'text_away');
    } else {
      at.text.value = '';
      say(at.problem, null);
      outbox.add(CHAT, content);
    }
  }

  function giveBack(texts, key) {
    if (texts.length > 0) {
      at.text.value = texts.concat(at.text.value || []).join('\n');
      say(at.problem, key);
    }
  }

  function failed(reply) {
    const entry = outbox.refuse(reply.ref, reply.code === 'rate_limited');
    if (entry && !entry.key) {
      giveBack([entry.content], null);
    } else if (entry && entry.type === HAND) {
      hands.wanted = false;
    } else if (entry) {
      polls.refused(entry.key);
    }
    // That a message is gone which somebody received is nobody's concern here, and what came too fast is tried again.
    if (reply.code !== 'no_such_message' && reply.code !== 'rate_limited') {
      say(at.problem, null);
      at.problem.textContent = hubWords(reply);
    }
    changed();
  }

  // What is not in the room yet stands under the talk, in the order in which it will go out.
  function drawWaiting() {
    at.waiting.textContent = '';
    outbox.typed().forEach(content => {
      const item = make('li', '', content);
      item.dir = 'auto';
      at.waiting.append(item);
    });
    at['waiting-words'].hidden = at.waiting.hidden = !at.waiting.firstChild;
    talk.follow();
  }

  function waitingChanged() {
    clearTimeout(waits);
    if (outbox.typed().length === 0) {
      drawWaiting();
    } else {
      waits = setTimeout(drawWaiting, at.waiting.hidden ? WAITING_MS : 0);
    }
  }

  // ---- What is seen ----

  function draw() {
    const { locked, quiet } = rule;
    const teaches = isOwner(me);
    const ids = hands.ids();
    draws = 0;
    up = new Set(ids);
    at.count.textContent = people.size();
    say(at.people, 'people', { n: people.size() });
    people.draw();
    polls.draw();

    const raised = ids.map(people.member);
    const drawn = JSON.stringify(raised);
    if (at.hands.dataset.drawn !== drawn) {
      at.hands.dataset.drawn = drawn;
      at.hands.textContent = '';
      at.hands.append(...raised.map(member => make('li', '', nameElement(member))));
    }
    at.hands.hidden = ids.length === 0;
    aria(at.hand, 'pressed', hands.wanted);

    at.place.classList.toggle('owner', teaches);
    at.tools.hidden = !teaches;
    aria(at.lock, 'pressed', locked);
    aria(at.quiet, 'pressed', quiet);
    // A teacher opens polls all the time, others hardly ever.
    const corner = teaches ? at.actions : at.who;
    if (!corner.contains(at['poll-open'])) {
      corner.append(at['poll-open']);
    }
    at.out.hidden = removed.size === 0;
    arrange(at.removed, Array.from(removed.values(), member => {
      member.item = member.item || makeRemoved(member);
      return member.item;
    }));

    say(at['is-locked'], locked ? 'is_locked' : null);
    say(at['is-quiet'], quiet ? 'is_quiet' : null);
    at.rules.hidden = !locked && !quiet;
    at.text.disabled = at.send.disabled = quiet && !teaches;
  }

  function makeRemoved(member) {
    const then = () => hub.say(REMOVE, { id: member.id, forS: 0 });
    return make('li', '', sayingButton('let_in', then, { name: nameOf(member) }));
  }

  // ---- Where things stand ----

  function stand(state) {
    standing.show(room.inside);
    at.code.hidden = !state.why || state.why.code !== 'passcode';
    if (state.why && state.why.removed) {
      hands.wanted = false;
      polls.refused('poll');
      draw();
    }
    if (state.name === 'refused' || state.name === 'closed') {
      giveBack(outbox.empty(), 'text_unsure');
    } else {
      // Nothing goes out until all of the past is known.
      outbox.pause();
    }
    if (state.name === 'out') {
      remember(TAB, 'room.' + room.number, null);
      app.left(room, outbox.typed().concat(at.text.value || []).join('\n'));
    }
    app.changed();
  }

  function entered(data, { gap, time }, isSame) {
    const { members } = data;
    const isBack = room.inside;
    ahead = time - Date.now();
    if (members) {
      lesson.seen = hub.seen;
      here(members);
      // What a number meant before is not what it means now, and not all that was said will come.
      receipts.forget();
      talk.forgetNumbers();
      heard = 0;
      hands.doubt();
      polls.doubt();
      // The room saw a join only where the joiner got a new seat, the last.
      asks = isSame || members[members.length - 1].id !== me;
      standing.mended(talk.note);
      talk.note(gap && (isBack || isSame) ? 'gap' : 'entered');
      giveBack(outbox.doubt(), 'text_unsure');
    } else if (!isBack && partial) {
      asks = true;
      talk.note('gap');
    }
    standing.mended();
    ruled(data);
    at.invite.href = '/join?' + new URLSearchParams({ room: room.number });
    room.inside = true;
    at.inside.hidden = at.leave.hidden = at.invite.hidden = false;
    at.place.className = 'in';
    draw();
    app.changed();
    if (!isBack && app.isShown(room)) {
      talk.follow();
      // On a touch screen focus in the box would bring up the keyboard over what is to be read.
      (matchMedia('(pointer: coarse)').matches ? at.title : at.text).focus();
    }
    room.keep();
  }

  // Exactly these are in the room.
  function here(members) {
    people.are(members);
    lesson.are(members, now());
  }

  // All of the past is known.
  function caught(data) {
    const ids = new Set(data.members.map(member => member.id));
    here(data.members);
    hands.only(ids);
    polls.only(ids);
    ruled(data);
    if (asks) {
      asks = false;
      outbox.put('ask', ASK, {});
    }
    outbox.resume();
    receipts.flush();
    changed();
    room.keep();
  }

  // ---- What the rest of the page does with it ----

  /** Takes a seat there, or takes it again after a reload; with `code` as the teacher. */
  room.enter = (member, number, code) => {
    // A teacher who closed the tab is still the teacher.
    const kept = recall(TAB, 'room.' + number) || recall(BROWSER, 'teacher.' + number) || {};
    room.number = number;
    codes = Object.assign({}, kept.codes, at.code.value && { passcode: at.code.value }, code && { ownerPasscode: code });
    if (Date.now() - kept.at < LESSON_MS) {
      hands.wanted = kept.hand;
      polls.restore(kept.polls);
      lesson.restore(kept.lesson);
    }
    heard = kept.seen || 0;
    partial = heard - HEARD_AGAIN > kept.since;
    kept.seen = partial ? heard - HEARD_AGAIN : kept.since;
    hub.join(member, number, codes, kept);
  };

  /** Keeps what a reload needs. */
  room.keep = () => {
    clearTimeout(keeps);
    keeps = 0;
    if (room.inside && hub.token) {
      const kept = {
        at: Date.now(),
        token: hub.token,
        since: hub.since,
        seen: hub.caught ? hub.seen : heard,
        hand: hands.wanted,
        polls: polls.kept(),
        lesson: lesson.kept(),
        codes,
      };
      remember(TAB, 'room.' + room.number, kept);
      if (isOwner(me)) {
        // What opens every lesson does not stay on a computer that others use as well.
        kept.codes = null;
        remember(BROWSER, 'teacher.' + room.number, kept);
      }
    }
  };

  /** It is looked at now, in place of another. */
  room.shown = () => {
    room.unread = 0;
    talk.follow();
  };

  /** What the hub says of the seat. */
  room.state = () => hub.state;

  at.retry.onclick = hub.retry;
  at.back.onclick = at.leave.onclick = hub.leave;
  at.code.onchange = () => {
    codes.passcode = at.code.value;
    hub.retry();
  };
  at.compose.onsubmit = sayTyped;
  at.text.onkeydown = event => {
    // The Enter that picks a word in a Chinese input method is not meant for us. Safari says so only
    // by the key code.
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
      sayTyped(event);
    }
  };
  at.who.open = matchMedia('(min-width: 48em)').matches;
  at.hand.onclick = () => {
    hands.turn();
    changed();
  };
  at.lock.onclick = () => hub.say(RULE, { locked: !rule.locked });
  at.quiet.onclick = () => hub.say(RULE, { quiet: !rule.quiet });
  at.attendance.onclick = () => {
    lesson.download(room.number, ['name', 'number', 'joined', 'left', 'minutes'].map(key => text(key)), now());
  };
  return room;
}
