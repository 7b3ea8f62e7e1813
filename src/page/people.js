// Who is in the room.
//
// Owns: the list of members with their marks and faces, and the two steps that it takes to remove somebody.
// Refuses to know: why somebody comes or goes, and what the hub says to a removal.

import { aria, arrange, button, make, nameElement, nameOf, sayingButton } from './element.js';
import { label, spoken } from './words.js';

// Not what one does not see: spaces, and marks that change the direction of what follows.
const LETTER = /[0-9a-z\u00c0-\u1fff\u2c00-\ud7ff\uf900-\u{1ffff}]/iu;

// White on these has a contrast of more than 4.5 to 1, whatever the hue.
function colour(id) {
  let hash = 7;
  for (const character of id) {
    hash = (hash * 31 + character.codePointAt(0)) % 360;
  }
  return 'hsl(' + hash + ', 45%, 30%)';
}

// The pictures that are shown: those of this hub, and those that come over https.
function picture(url) {
  try {
    const { origin, protocol, href } = new URL(url, location.href);
    return url && (origin === location.origin || protocol === 'https:') && href;
  } catch (error) {
    return null;
  }
}

function face(member) {
  const face = make('span', 'face', (nameOf(member).match(LETTER) || '?')[0].toUpperCase());
  const url = picture(member.headImgUrl);
  aria(face, 'hidden', true);
  face.style.background = colour(member.id);
  if (url) {
    // It covers the letter, if it comes.
    const image = make('img', '');
    image.alt = '';
    image.width = image.height = 32;
    image.loading = 'lazy';
    image.referrerPolicy = 'no-referrer';
    image.onerror = () => image.remove();
    image.src = url;
    face.prepend(image);
  }
  return face;
}

/** `on`: `remove(id)`; `isOwner(id)`; `isUp(id)` is whether a hand is up. */
export function seatPeople(list, me, on) {
  // Id to {member, item, marks, tools}.
  const seats = new Map();

  // To remove somebody takes a second thought.
  function offer(member, tools) {
    const back = () => {
      tools.textContent = '';
      offer(member, tools);
      tools.firstChild.focus();
    };
    const first = button('remove', () => {
      const sure = sayingButton('remove', () => on.remove(member.id));
      sure.className = 'sure';
      tools.textContent = '';
      tools.append(sure, sayingButton('cancel', back));
      sure.focus();
    }, '✕');
    label(first, 'remove_who', { name: nameOf(member) });
    tools.append(first);
  }

  const people = {
    size: () => seats.size,

    /** The member, or as much as is known of it. */
    member: id => seats.has(id) ? seats.get(id).member : { id },

    seat(member) {
      const { id } = member;
      if (seats.has(id) && JSON.stringify(seats.get(id).member) !== JSON.stringify(member)) {
        // Out and in again when nobody here could see it, and not quite the same.
        people.unseat(id);
      }
      if (!seats.has(id)) {
        const marks = make('span', 'marks');
        const tools = make('span', 'tools');
        const item = make('li', id === me ? 'me' : '', face(member), nameElement(member), marks, tools);
        item.dataset.id = id;
        seats.set(id, { member, item, marks, tools });
        list.append(item);
      }
    },

    unseat(id) {
      if (seats.has(id)) {
        seats.get(id).item.remove();
        seats.delete(id);
      }
    },

    /** Exactly these are here, in this order. */
    are(members) {
      const here = new Set(members.map(member => member.id));
      Array.from(seats.keys()).forEach(id => here.has(id) || people.unseat(id));
      members.forEach(people.seat);
      arrange(list, members.map(member => seats.get(member.id).item));
    },

    /** Marks everyone. */
    draw() {
      const teaches = on.isOwner(me);
      seats.forEach(({ member, marks, tools }, id) => {
        const keys = [id === me && 'you', on.isOwner(id) && 'teacher', on.isUp(id) && 'hand_up'].filter(key => key);
        const number = teaches && member.personNum || '';
        const drawn = keys + number;
        if (marks.dataset.drawn !== drawn) {
          marks.dataset.drawn = drawn;
          marks.textContent = '';
          marks.append(make('bdi', 'number', number));
          keys.forEach(key => {
            const mark = spoken(key);
            mark.className = key;
            marks.append(' ', mark);
          });
        }
        if (!teaches || id === me) {
          tools.textContent = '';
        } else if (!tools.firstChild) {
          offer(member, tools);
        }
      });
    },
  };
  return people;
}
