// The way in, and which room one looks at.
//
// Owns: the form, the rooms of this tab, the switch of languages, and coming back to all of it after a reload.
// Refuses to know: what happens in a room (room.js), the connection (hub.js), and the words (words.js).

import { button, make } from './element.js';
import { bytes } from './hub.js';
import { BROWSER, TAB, me, recall, recallThing, remember, rememberThing } from './memory.js';
import { openRoom } from './room.js';
import { dress, language, otherLanguage, say, speak, text } from './words.js';

// The hub's limits for what is typed here, in bytes of UTF-8.
const NAME_BYTES = 96;
const NUMBER_BYTES = 64;
const ROOM_BYTES = 64;
const MOST = { name: NAME_BYTES, number: NUMBER_BYTES, room: ROOM_BYTES };
const HAN_BYTES = 3;
// More would not fit onto a phone.
const ROOMS_MOST = 4;

const at = id => document.getElementById(id);
const value = field => at(field).value.trim();
const asked = () => new URLSearchParams(location.search).get('room');

// ---- The rooms ----

let rooms = [];
let active = null;

const app = {
  isShown: room => room === active,
  changed: draw,
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
  const room = openRoom(app);
  rooms.push(room);
  return room;
}

function drop(room) {
  rooms = rooms.filter(other => other !== room);
  if (room === active) {
    show(rooms[0]);
  }
}

function show(room) {
  const before = active;
  active = room;
  if (before) {
    before.bar.remove();
    before.place.remove();
    // A room that was never entered goes as soon as nobody looks at it.
    if (before !== room && before.state().name === 'out') {
      drop(before);
    }
  }
  at('header').prepend(room.bar);
  at('main').prepend(room.place);
  room.shown();
  at('room').value = room.number || '';
  draw();
}

function draw() {
  if (!active) {
    return;
  }
  const { name, why } = active.state();
  at('enter').hidden = active.inside;
  at('join').disabled = name === 'connecting';
  if (why && why.code === 'passcode') {
    at('roomcode-field').hidden = false;
  }
  at('add-room').hidden = !active.inside || rooms.length >= ROOMS_MOST;
  document.title = (active.title || text('classroom')) + ' · classhub';

  at('tabs').hidden = rooms.length < 2;
  at('tabs').textContent = '';
  rooms.forEach((room, i) => {
    const title = room.title || room.number || text('new_room');
    const tab = button('tab', () => {
      show(room);
      at('tabs').children[i].focus();
    }, make('bdi', '', title));
    if (room === active) {
      tab.setAttribute('aria-current', 'true');
    } else if (room.unread > 0) {
      tab.append(' ', make('span', 'unread', room.unread));
      tab.setAttribute('aria-label', text('unread', { room: title, n: room.unread }));
    }
    at('tabs').append(tab);
  });

  rememberThing(TAB, 'rooms', rooms.filter(room => room.inside).map(room => room.number));
  // A reload comes back to this room, and the address can be passed on.
  if (active.inside && asked() !== active.number) {
    try {
      history.replaceState(null, '', '?' + new URLSearchParams({ room: active.number }));
    } catch (error) {
      // Some embedded browsers forbid it; then the address just does not say the room.
    }
  }
}

// ---- The form ----

// Whether the field can go to the hub as it stands. `asks` is false while it is still being typed
// in, when an empty one is nobody's fault yet.
function check(field, asks) {
  const most = MOST[field];
  const n = bytes(value(field));
  const key = n > most ? 'too_long' : n === 0 && asks && field !== 'number' ? field + '_missing' : null;
  say(at(field + '-wrong'), key, { n, most, han: Math.floor(most / HAN_BYTES) });
  if (key === null) {
    at(field).removeAttribute('aria-invalid');
  } else {
    at(field).setAttribute('aria-invalid', 'true');
  }
  return key === null;
}

const member = () => ({ id: me, personName: value('name'), personNum: value('number'), nickName: '', headImgUrl: '' });

at('enter').onsubmit = event => {
  const wrong = Object.keys(MOST).filter(field => !check(field, true));
  const number = value('room');
  const open = rooms.find(room => room.number === number && room !== active);
  event.preventDefault();
  if (wrong.length > 0) {
    at(wrong[0]).focus();
  } else if (open) {
    show(open);
  } else {
    ['name', 'number'].forEach(field => remember(BROWSER, field, value(field)));
    active.enter(member(), number, { passcode: value('roomcode') || null, ownerPasscode: value('passcode') || null });
  }
};
Object.keys(MOST).forEach(field => {
  at(field).value = recall(BROWSER, field) || '';
  at(field).oninput = () => check(field, false);
});

// ---- From here on it happens ----

function switchTo(wanted) {
  speak(wanted);
  dress(document);
  rooms.forEach(room => dress(room.bar, room.place));
  at('language').lang = otherLanguage();
  draw();
}

switchTo(recall(BROWSER, 'language') || navigator.language);
at('language').onclick = () => {
  switchTo(otherLanguage());
  remember(BROWSER, 'language', language());
};
at('add-room').onclick = () => {
  show(add());
  at('room').focus();
};
addEventListener('pagehide', () => rooms.forEach(room => room.pause()));

const link = asked();
// The hub keeps the seats for a few seconds, and nobody sees the gap.
(value('name') && recallThing(TAB, 'rooms') || []).forEach(number => {
  add().enter(member(), number, recallThing(TAB, 'codes.' + number) || {});
});
show(rooms.find(room => room.number === link) || (link === null && rooms[0]) || add());
at('room').value = active.number || link || '';
