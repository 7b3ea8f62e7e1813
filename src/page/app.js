// What is seen and done on the page.
//
// Owns: the form, the members, the talk, the notice, and what this browser remembers.
// Refuses to know: the connection and when it is tried again (hub.js), what is still to be sent (outbox.js) and to be
// acknowledged (receipts.js), and the words (words.js).
//
// Whatever came from somebody else gets onto the page through textContent alone, so that a name
// is never more than a name.

import { Hub, MESSAGE_BYTES, address, bytes } from './hub.js';
import { Outbox } from './outbox.js';
import { Receipts } from './receipts.js';
import { known, language, otherLanguage, say, speak, text } from './words.js';

// The hub's limits for what is typed here, in bytes of UTF-8.
const NAME_BYTES = 96;
const ROOM_BYTES = 64;
const HAN_BYTES = 3;
// A lesson's talk stays on the page; a day's would make a small tablet crawl.
const TALK_MOST = 500;
// How far from its end somebody may have scrolled and still be taken along by what comes.
const NEAR_END_PX = 48;
// The tries of one break after which the page makes a notice of it. The first two take less than a
// second, and a notice that flashes up and goes is worse than none.
const NOTICED_TRIES = 3;
// A message that is still not in the room after this is shown to be waiting. Most are there much sooner.
const WAITING_MS = 400;

const JOIN = 1;
const LEAVE = 2;
const CHAT = 3;

const at = id => document.getElementById(id);

// ---- What this browser remembers ----
// Its tab (sessionStorage) knows who sits here: two tabs are two people to the hub, and a reload is
// the same one. The browser (localStorage) knows the name for next time. Either may be forbidden,
// in which case the page works and remembers nothing.

function recall(area, key) {
  try {
    return window[area].getItem('classhub.' + key);
  } catch (error) {
    return null;
  }
}

function remember(area, key, value) {
  try {
    if (value === null) {
      window[area].removeItem('classhub.' + key);
    } else {
      window[area].setItem('classhub.' + key, value);
    }
  } catch (error) {
    // Forbidden, or full.
  }
}

// Not crypto.randomUUID, which a browser keeps from pages that come over plain http.
function drawId() {
  const drawn = new Uint8Array(16);
  if (window.crypto && crypto.getRandomValues) {
    crypto.getRandomValues(drawn);
  } else {
    drawn.forEach((ignored, i) => { drawn[i] = Math.floor(Math.random() * 256); });
  }
  return Array.from(drawn, byte => (byte + 256).toString(16).slice(1)).join('');
}

const id = recall('sessionStorage', 'id') || drawId();
remember('sessionStorage', 'id', id);

// ---- The form ----

function complain(field, key, filling) {
  say(at(field + '-wrong'), key, filling);
  if (key === null) {
    at(field).removeAttribute('aria-invalid');
  } else {
    at(field).setAttribute('aria-invalid', 'true');
  }
  return key === null;
}

// Whether the field can go to the hub as it stands. `asked` is false while it is still being typed
// in, when an empty one is nobody's fault yet.
function check(field, most, asked) {
  const value = at(field).value.trim();
  const n = bytes(value);
  if (n > most) {
    return complain(field, field + '_long', { n, most, han: Math.floor(most / HAN_BYTES) });
  }
  return complain(field, n === 0 && asked ? field + '_missing' : null);
}

function enter() {
  const nameGood = check('name', NAME_BYTES, true);
  const roomGood = check('room', ROOM_BYTES, true);
  if (!nameGood || !roomGood) {
    at(nameGood ? 'room' : 'name').focus();
    return;
  }
  const personName = at('name').value.trim();
  const room = at('room').value.trim();
  remember('localStorage', 'name', personName);
  remember('sessionStorage', 'name', personName);
  // After a reload the token of the seat is still good, if it is for this room.
  const token = recall('sessionStorage', 'seat') === room ? recall('sessionStorage', 'token') : null;
  hub.join({ id, personName, personNum: '', nickName: '', headImgUrl: '' }, room, token);
}

// ---- Who is there ----

const seats = new Map(); // id to the list item

function nameOf(member) {
  return String(member.personName || member.nickName || member.id || '?');
}

// A name in an element that keeps its writing direction to itself.
function nameElement(member) {
  const name = document.createElement('bdi');
  name.className = 'name';
  name.textContent = nameOf(member);
  return name;
}

function seat(member) {
  if (!member || seats.has(member.id)) {
    return;
  }
  const item = document.createElement('li');
  item.append(nameElement(member));
  if (member.id === id) {
    item.className = 'me';
    const you = document.createElement('span');
    say(you, 'you');
    item.append(' ', you);
  }
  seats.set(member.id, item);
  at('members').append(item);
  drawCount();
}

function unseat(member) {
  const item = seats.get(member.id);
  if (item) {
    item.remove();
    seats.delete(member.id);
    drawCount();
  }
}

function drawCount() {
  at('count').textContent = seats.size;
}

// ---- The talk ----

function clock(time) {
  const element = document.createElement('time');
  const date = new Date(time);
  if (time && !isNaN(date)) {
    element.dateTime = date.toISOString();
    element.title = date.toLocaleString(document.documentElement.lang);
    element.textContent = date.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
  }
  return element;
}

// Whether the reader is at the end of the talk, and wants to stay there.
let following = true;

function follow() {
  if (following) {
    at('talk').scrollTop = at('talk').scrollHeight;
  }
}

function scrolled() {
  const list = at('talk');
  following = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_END_PX;
}

function show(item) {
  at('talk').append(item);
  while (at('talk').children.length > TALK_MOST) {
    at('talk').firstElementChild.remove();
  }
  follow();
}

function note(key, member, time, filling) {
  const item = document.createElement('li');
  item.className = 'note';
  if (member) {
    item.append(nameElement(member), ' ');
  }
  const words = document.createElement('span');
  say(words, key, filling);
  item.append(words);
  if (time) {
    item.append(' ', clock(time));
  }
  show(item);
}

function chat(from, content, time, seq) {
  const mine = from.id === id;
  const item = document.createElement('li');
  item.className = mine ? 'said mine' : 'said';
  const words = document.createElement('p');
  words.dir = 'auto';
  words.textContent = content;
  item.append(nameElement(from), words, clock(time));
  if (mine) {
    const count = document.createElement('span');
    count.className = 'receipts';
    count.dataset.seq = seq;
    // The talk is read aloud as it grows; that one more has read something is not news.
    count.setAttribute('aria-live', 'off');
    item.append(' ', count);
    receipts.watch(seq, TALK_MOST);
  } else {
    receipts.arrived(seq);
  }
  following = following || mine;
  show(item);
}

function hear(body) {
  const said = body.textData || {};
  const data = said.data || {};
  const beside = body.extendFields || {};
  if (said.dataType === JOIN && data.newJoinMember) {
    seat(data.newJoinMember);
    note('joined', data.newJoinMember, beside.time);
  } else if (said.dataType === LEAVE && data.newLeaveMember) {
    unseat(data.newLeaveMember);
    const reason = 'left_' + beside.reason;
    note(known(reason) ? reason : 'left', data.newLeaveMember, beside.time);
  } else if (said.dataType === CHAT && data.from) {
    if (data.from.id === id) {
      outbox.confirm(beside.ref);
    }
    chat(data.from, String(data.content), beside.time, beside.seq);
  }
}

// ---- Saying something ----

function talk() {
  const box = at('text');
  const ref = hub.nextRef();
  const n = hub.size(ref, box.value);
  if (box.value.trim() === '') {
    return;
  }
  if (n > MESSAGE_BYTES) {
    say(at('problem'), 'text_long', { n, most: MESSAGE_BYTES });
  } else if (hub.state.name === 'refused' || hub.state.name === 'closed') {
    say(at('problem'), 'text_away');
  } else {
    outbox.add(ref, box.value);
    box.value = '';
    say(at('problem'), null);
  }
}

function giveBack(texts, key) {
  if (texts.length > 0) {
    const box = at('text');
    box.value = texts.concat(box.value === '' ? [] : [box.value]).join('\n');
    say(at('problem'), key);
  }
}

// What is not in the room yet stands under the talk, in the order in which it will go out.
let drawing = 0;

function drawWaiting() {
  at('waiting').textContent = '';
  outbox.entries.forEach(entry => {
    const item = document.createElement('li');
    item.dir = 'auto';
    item.textContent = entry.content;
    at('waiting').append(item);
  });
  at('waiting-words').hidden = at('waiting').hidden = outbox.entries.length === 0;
  follow();
}

function waitingChanged() {
  clearTimeout(drawing);
  if (outbox.entries.length === 0) {
    drawWaiting();
  } else {
    drawing = setTimeout(drawWaiting, at('waiting').hidden ? WAITING_MS : 0);
  }
}

// Everybody else in the room, and nobody who has left it after he received something.
function drawReceipts(seq, n) {
  const count = at('talk').querySelector('.receipts[data-seq="' + seq + '"]');
  if (count) {
    say(count, 'received_by', { n, of: Math.max(n, seats.size - 1) });
  }
}

// The hub's own words, and its code for whoever is asked about it.
function hubWords(reply) {
  return reply.code ? reply.msg + ' (' + reply.code + ')' : String(reply.msg);
}

function failed(reply) {
  const content = outbox.refuse(reply.ref, reply.code === 'rate_limited');
  if (content !== null) {
    giveBack([content], null);
  }
  // That a message is gone which somebody received is nobody's concern here, and what came too fast is tried again.
  if (reply.code !== 'no_such_message' && reply.code !== 'rate_limited') {
    say(at('problem'), null);
    at('problem').textContent = hubWords(reply);
  }
}

// ---- Where things stand ----

function entered(room, how) {
  const returned = how.again && !at('inside').hidden;
  if (!how.complete) {
    seats.clear();
    at('members').textContent = '';
    room.members.forEach(seat);
    drawCount();
    // What a number meant before is not what it means now, and not all that was said will come.
    receipts.forget();
    at('talk').querySelectorAll('.receipts').forEach(count => count.removeAttribute('data-seq'));
    if (returned) {
      if (broken) {
        note(broken.key, null, 0, broken.filling);
      }
      note(how.gap ? 'gap' : 'returned');
      const doubtful = outbox.doubt();
      giveBack(doubtful === null ? [] : [doubtful], 'text_unsure');
    } else {
      at('talk').textContent = '';
      say(at('problem'), null);
      note('entered');
      following = true;
    }
  }
  broken = null;

  const number = hub.wanted.room;
  at('title').removeAttribute('data-say');
  at('title').textContent = room.name || number;
  document.title = (room.name || number) + ' · classhub';
  // A reload comes back to this seat, and the address can be passed on.
  remember('sessionStorage', 'seat', number);
  remember('sessionStorage', 'token', hub.token);
  try {
    history.replaceState(null, '', '?room=' + encodeURIComponent(number));
  } catch (error) {
    // Some embedded browsers forbid it; then the address just does not say the room.
  }

  if (!returned) {
    view(true);
    follow();
    // On a touch screen focus in the box would bring up the keyboard over what is to be read.
    (matchMedia('(pointer: coarse)').matches ? at('title') : at('text')).focus();
  }
}

function view(inside) {
  at('inside').hidden = !inside;
  at('leave').hidden = !inside;
  at('enter').hidden = inside;
}

function left() {
  remember('sessionStorage', 'seat', null);
  remember('sessionStorage', 'token', null);
  giveBack(outbox.empty(), 'text_unsure');
  say(at('title'), 'classroom');
  document.title = text('classroom') + ' · classhub';
  if (at('enter').hidden) {
    view(false);
    at('join').focus();
  }
}

// What led here, in the reader's words; null where the hub's own say enough.
function explain(state) {
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

// What broke the connection, to be told once it is mended: most breaks are over before anybody
// could have read of them.
let broken = null;

let ticking = 0;

function tick() {
  const seconds = Math.ceil((hub.state.until - performance.now()) / 1000);
  // The first tries come faster than anybody reads.
  if (hub.state.until > 0 && seconds > 1) {
    say(at('countdown'), 'countdown', { n: seconds });
  } else {
    say(at('countdown'), null);
  }
}

function stand(state) {
  at('state').dataset.state = state.name;
  say(at('state').firstElementChild, 'state_' + state.name);

  clearInterval(ticking);
  tick();
  if (state.until > 0) {
    ticking = setInterval(tick, 250);
  }

  const why = state.why;
  const trying = why && (state.until > 0 || state.name === 'connecting');
  if (why) {
    const key = explain(state);
    const filling = { code: why.close };
    if (state.until > 0 && key !== null && broken === null) {
      broken = { key, filling };
    }
    at('notice-hub').hidden = why.msg === undefined;
    if (why.msg !== undefined && at('notice-hub').textContent !== hubWords(why)) {
      at('notice-hub').textContent = hubWords(why);
    }
    at('notice-words').hidden = key === null;
    say(at('notice-words'), key, filling);
    at('notice-hope').hidden = !trying;
    say(at('notice-hope'), trying ? 'coming_back' : null);
    say(at('retry'), trying ? 'try_now' : 'try_again');
  }
  at('notice').hidden = !why || (trying && hub.tries < NOTICED_TRIES);
  at('back').hidden = at('enter').hidden;
  at('retry').disabled = state.name === 'connecting';
  at('join').disabled = state.name === 'connecting';

  if (state.name === 'out') {
    left();
  } else if (state.name === 'refused' || state.name === 'closed') {
    giveBack(outbox.empty(), 'text_unsure');
  } else {
    // Nothing goes out until all of the past is known.
    outbox.pause();
  }
}

// ---- From here on it happens ----

const outbox = new Outbox((ref, content) => hub.say(ref, content), waitingChanged);
const receipts = new Receipts(seqs => hub.receive(hub.nextRef(), seqs), drawReceipts);
const hub = new Hub(address(), {
  state: stand,
  joined: entered,
  caught() {
    outbox.resume();
    receipts.flush();
  },
  frame: hear,
  hole: () => note('gap'),
  receipt: data => receipts.received(data.from.id, data.seq),
  failure: failed,
});

function switchTo(wanted) {
  speak(wanted);
  at('language').textContent = text('other_language');
  at('language').lang = otherLanguage();
  at('text').placeholder = text('message_hint');
}

switchTo(recall('localStorage', 'language') || navigator.language);
at('language').onclick = () => {
  switchTo(otherLanguage());
  remember('localStorage', 'language', language());
};

at('enter').onsubmit = event => {
  event.preventDefault();
  enter();
};
at('name').oninput = () => check('name', NAME_BYTES, false);
at('room').oninput = () => check('room', ROOM_BYTES, false);
at('retry').onclick = () => hub.retry();
at('back').onclick = () => hub.leave();
at('leave').onclick = () => hub.leave();
at('compose').onsubmit = event => {
  event.preventDefault();
  talk();
};
at('text').onkeydown = event => {
  // The Enter that picks a word in a Chinese input method is not meant for us. Safari says so only
  // by the key code.
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
    event.preventDefault();
    talk();
  }
};
at('talk').onscroll = scrolled;
if (window.ResizeObserver) {
  // A keyboard that comes up, or a notice, would otherwise cover what was said last.
  new ResizeObserver(follow).observe(at('talk'));
}
at('who').open = matchMedia('(min-width: 48em)').matches;

const seatKept = recall('sessionStorage', 'seat');
at('name').value = recall('sessionStorage', 'name') || recall('localStorage', 'name') || '';
at('room').value = new URLSearchParams(location.search).get('room') || seatKept || '';
if (seatKept && seatKept === at('room').value && at('name').value) {
  enter(); // a reload: the hub keeps the seat for a few seconds, and nobody sees the gap
}
