// The way in, and which room one looks at.
//
// Owns: the form, the rooms of this tab, the switch of languages, and coming back to all of it after a reload.
// Refuses to know: what happens in a room (room.js), the connection (hub.js), and the words (words.js).

import { bytes } from './hub.js';
import { button, make } from './element.js';
import { BROWSER, TAB, me, recall, recallThing, remember, rememberThing } from './memory.js';
import { Room } from './room.js';
import { dress, language, otherLanguage, say, speak, text } from './words.js';

// The hub's limits for what is typed here, in bytes of UTF-8.
const NAME_BYTES = 96;
const ROOM_BYTES = 64;
const NUMBER_BYTES = 64;
const HAN_BYTES = 3;
// More would not fit onto a phone.
const ROOMS_MOST = 4;

const at = id => document.getElementById(id);

// ---- The rooms ----

const rooms = [];
let active = null;

const app = {
  isShown: room => room === active,
  changed() {
    if (active !== null) {
      draw();
    }
  },
  left(room) {
    if (rooms.length > 1) {
      drop(room);
    }
    draw();
    if (!active.inside) {
      at('join').focus();
    }
  },
};

function add() {
  const room = new Room(app);
  rooms.push(room);
  return room;
}

function drop(room) {
  rooms.splice(rooms.indexOf(room), 1);
  if (room === active) {
    show(rooms[rooms.length - 1]);
  }
}

// A room that was never entered goes as soon as nobody looks at it.
function show(room) {
  const before = active;
  if (room === before) {
    return;
  }
  active = room;
  if (before) {
    before.bar.concat(before.at.place).forEach(part => part.remove());
    if (before.hub.state.name === 'out' && rooms.includes(before)) {
      drop(before);
    }
  }
  at('header').prepend(...room.bar);
  at('main').prepend(room.at.place);
  room.shown();
  if (!room.inside) {
    at('room').value = room.number || '';
  }
  draw();
}

function draw() {
  const { state } = active.hub;
  const inside = rooms.filter(room => room.inside);
  at('enter').hidden = active.inside;
  at('join').disabled = state.name === 'connecting';
  if (state.why && state.why.code === 'passcode') {
    at('roomcode-field').hidden = false;
  }
  at('add-room').hidden = !active.inside || rooms.length >= ROOMS_MOST;
  document.title = (active.title || text('classroom')) + ' · classhub';

  at('tabs').hidden = rooms.length < 2;
  at('tabs').textContent = '';
  (rooms.length < 2 ? [] : rooms).forEach(room => {
    const tab = button('tab', () => {
      show(room);
      at('tabs').children[rooms.indexOf(room)].focus();
    }, make('bdi', '', room.title || text('new_room')));
    if (room === active) {
      tab.setAttribute('aria-current', 'true');
    } else if (room.unread > 0) {
      const count = make('span', 'unread', String(room.unread));
      count.title = text('unread', { n: room.unread });
      tab.append(' ', count);
      tab.setAttribute('aria-label', room.title + ': ' + count.title);
    }
    at('tabs').append(tab);
  });

  rememberThing(TAB, 'rooms', inside.map(room => room.number));
  // A reload comes back to this room, and the address can be passed on.
  if (active.inside && new URLSearchParams(location.search).get('room') !== active.number) {
    try {
      history.replaceState(null, '', '?' + new URLSearchParams({ room: active.number }));
    } catch (error) {
      // Some embedded browsers forbid it; then the address just does not say the room.
    }
  }
}

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
  const n = bytes(value(field));
  if (n > most) {
    return complain(field, field + '_long', { n, most, han: Math.floor(most / HAN_BYTES) });
  }
  return complain(field, n === 0 && asked ? field + '_missing' : null);
}

function value(field) {
  return at(field).value.trim();
}

function member() {
  return { id: me, personName: value('name'), personNum: value('number'), nickName: '', headImgUrl: '' };
}

function enter() {
  const wrong = [
    ['name', check('name', NAME_BYTES, true)],
    ['number', check('number', NUMBER_BYTES, false)],
    ['room', check('room', ROOM_BYTES, true)],
  ].filter(([field, isGood]) => !isGood);
  if (wrong.length > 0) {
    at(wrong[0][0]).focus();
    return;
  }
  ['name', 'number'].forEach(field => remember(BROWSER, field, value(field)));
  const number = value('room');
  const open = rooms.find(room => room.number === number && room !== active);
  if (open) {
    show(open);
    return;
  }
  active.enter(member(), number, { passcode: value('roomcode') || null, ownerPasscode: value('passcode') || null });
}

// ---- From here on it happens ----

function switchTo(wanted) {
  speak(wanted);
  dress(document);
  rooms.forEach(room => room.dress());
  at('language').lang = otherLanguage();
  app.changed();
}

switchTo(recall(BROWSER, 'language') || navigator.language);
at('language').onclick = () => {
  switchTo(otherLanguage());
  remember(BROWSER, 'language', language());
};
at('enter').onsubmit = event => {
  event.preventDefault();
  enter();
};
at('name').oninput = () => check('name', NAME_BYTES, false);
at('number').oninput = () => check('number', NUMBER_BYTES, false);
at('room').oninput = () => check('room', ROOM_BYTES, false);
at('add-room').onclick = () => {
  show(add());
  at('room').focus();
};
addEventListener('pagehide', () => rooms.forEach(room => {
  room.receipts.flush();
  room.keep();
}));

['name', 'number'].forEach(field => { at(field).value = recall(BROWSER, field) || ''; });
const asked = new URLSearchParams(location.search).get('room');
// The hub keeps the seats for a few seconds, and nobody sees the gap.
const kept = value('name') === '' ? [] : [].concat(recallThing(TAB, 'rooms') || []);
kept.forEach(number => {
  const room = add();
  room.enter(member(), number, recallThing(TAB, 'codes.' + number) || {});
});
show(rooms.find(room => room.number === asked) || (asked === null && rooms[0]) || add());
at('room').value = active.number || asked || '';
