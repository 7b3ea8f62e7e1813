// The way in, and which room one looks at.
//
// Owns: the form, the rooms of this tab, the switch of languages, and coming back to all of it after a reload.
// Refuses to know: what happens in a room (room.js), the connection (hub.js), and the words (words.js).

import { aria, button, make } from './element.js';
import { bytes } from './hub.js';
import { BROWSER, TAB, me, recall, remember } from './memory.js';
import { openRoom } from './room.js';
import { dress, language, otherLanguage, say, speak, text } from './words.js';

// The hub's limits for what is typed here, in bytes of UTF-8.
const NAME_BYTES = 96;
const ROOM_BYTES = 64;
const MOST = { name: NAME_BYTES, number: ROOM_BYTES, room: ROOM_BYTES };
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
  left(room, unsent) {
    if (rooms.length === 1) {
      add().text.value = unsent;
    }
    drop(room);
    if (!active.inside) {
      at('room').value = room.number;
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
    rooms = rooms.filter(other => other === room || other.state().name !== 'out');
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
  at('enter').hidden = active.inside;
  at('join').disabled = active.state().name === 'connecting';
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
      aria(tab, 'current', true);
    } else if (room.unread > 0) {
      tab.append(make('span', 'unread', ' +', room.unread));
    }
    at('tabs').append(tab);
  });

  remember(TAB, 'rooms', rooms.filter(room => room.inside).map(room => room.number));
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

// The first field that can't go to the hub as it stands, which is said. `asks` is false while they are still being typed
// in, when an empty one is nobody's fault yet.
function check(asks) {
  const wrong = Object.keys(MOST).map(field => {
    const n = bytes(value(field));
    const most = MOST[field];
    const key = n > most ? 'too_long' : n === 0 && asks && field !== 'number' && field + '_missing';
    aria(at(field), 'invalid', Boolean(key));
    return { field, key, filling: { n, most } };
  }).find(({ key }) => key);
  say(at('wrong'), wrong ? wrong.key : null, wrong && wrong.filling);
  return wrong;
}

const member = () => ({ id: me, personName: value('name'), personNum: value('number'), nickName: '', headImgUrl: '' });

at('enter').onsubmit = event => {
  const wrong = check(true);
  const number = value('room');
  const open = rooms.find(room => room.number === number && room !== active);
  event.preventDefault();
  if (wrong) {
    at(wrong.field).focus();
  } else if (open) {
    show(open);
  } else {
    ['name', 'number'].forEach(field => remember(BROWSER, field, value(field)));
    active.enter(member(), number, value('passcode'));
  }
};
at('enter').oninput = () => check(false);
['name', 'number'].forEach(field => { at(field).value = recall(BROWSER, field) || ''; });

// ---- From here on it happens ----

function switchTo(wanted) {
  speak(wanted);
  dress(document);
  rooms.forEach(room => [room.bar, room.place].forEach(dress));
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
addEventListener('pagehide', () => rooms.forEach(room => room.keep()));

const link = asked();
// The hub keeps the seats for a few seconds, and nobody sees the gap.
(value('name') && recall(TAB, 'rooms') || []).forEach(number => {
  add().enter(member(), number);
});
show(rooms.find(room => room.number === link) || (link === null && rooms[0]) || add());
at('room').value = active.number || link || '';
