// Who is in the room.
//
// Owns: the list of members with their marks and faces, and the two steps that it takes to remove somebody.
// Refuses to know: why somebody comes or goes, and what the hub says to a removal.

import { arrange, button, make, nameElement, nameOf } from './element.js';
import { label, say } from './words.js';

const FACE_PX = 32;
// Nothing that one sees: spaces, and marks that change the direction of what follows.
const UNSEEN = /[\s\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/g;

// White on these has a contrast of more than 4.5 to 1, whatever the hue.
function colour(id) {
  let hash = 7;
  for (const character of id) {
    hash = (hash * 31 + character.codePointAt(0)) % 360;
  }
  return 'hsl(' + hash + ', 45%, 30%)';
}

// What a page on plain http may show of what others name: pictures of this hub, and those that come over https.
function picture(url) {
  try {
    const at = new URL(url, location.href);
    return url && (at.origin === location.origin || at.protocol === 'https:') ? at.href : null;
  } catch (error) {
    return null;
  }
}

// A Chinese name by its first character, another by the first of its first two words.
function initials(name) {
  return name.split(/\s+/).map(word => Array.from(word.replace(UNSEEN, ''))[0] || '').slice(0, /^[ -\u02af]/.test(name) ? 2 : 1).join('')
    .toUpperCase() || '?';
}

function face(member) {
  const letters = make('span', 'face', initials(nameOf(member)));
  letters.setAttribute('aria-hidden', 'true');
  letters.style.background = colour(member.id);
  const url = picture(member.headImgUrl);
  if (!url) {
    return letters;
  }
  const image = make('img', 'face');
  image.alt = '';
  image.width = image.height = FACE_PX;
  image.loading = 'lazy';
  image.referrerPolicy = 'no-referrer';
  image.onerror = () => image.replaceWith(letters);
  image.src = url;
  return image;
}

export class People {
  /** `on`: `remove(id)`; `isOwner(id)`; `isUp(id)` is whether a hand is up. */
  constructor(list, me, on) {
    this.list = list;
    this.me = me;
    this.on = on;
    this.seats = new Map(); // id to {member, item, marks, tools}
  }

  get size() {
    return this.seats.size;
  }

  /** The member, or as much as is known of it. */
  member(id) {
    return this.seats.has(id) ? this.seats.get(id).member : { id };
  }

  seat(member) {
    if (!this.seats.has(member.id)) {
      const marks = make('span', 'marks');
      const tools = make('span', 'tools');
      const item = make('li', member.id === this.me ? 'me' : '', face(member), nameElement(member), marks, tools);
      item.dataset.id = member.id;
      this.seats.set(member.id, { member, item, marks, tools });
      this.list.append(item);
    }
  }

  unseat(id) {
    if (this.seats.has(id)) {
      this.seats.get(id).item.remove();
      this.seats.delete(id);
    }
  }

  /** Exactly these are here, in this order. */
  are(members) {
    const here = new Set(members.map(member => member.id));
    Array.from(this.seats.keys()).forEach(id => here.has(id) || this.unseat(id));
    members.forEach(member => this.seat(member));
    arrange(this.list, members.map(member => this.seats.get(member.id).item));
  }

  /** Marks everyone. */
  draw() {
    const removes = this.on.isOwner(this.me);
    this.seats.forEach(({ member, marks, tools }, id) => {
      const keys = [];
      if (id === this.me) {
        keys.push('you');
      }
      if (this.on.isOwner(id)) {
        keys.push('teacher');
      }
      if (this.on.isUp(id)) {
        keys.push('hand_up');
      }
      const numbered = removes && member.personNum;
      const drawn = keys.join() + numbered;
      if (marks.dataset.drawn !== drawn) {
        marks.dataset.drawn = drawn;
        marks.textContent = '';
        if (numbered) {
          marks.append(make('bdi', 'number', member.personNum));
        }
        keys.forEach(key => {
          const mark = make('span', key);
          say(mark, key);
          marks.append(' ', mark);
        });
      }
      if (!removes || id === this.me) {
        tools.textContent = '';
      } else if (tools.children.length === 0) {
        this.offer(member, tools);
      }
    });
  }

  offer(member, tools) {
    const first = button('quiet remove', () => {
      const back = () => {
        tools.textContent = '';
        this.offer(member, tools).focus();
      };
      const sure = button('sure', () => {
        tools.textContent = '';
        this.on.remove(member.id);
      });
      const not = button('quiet', back);
      [[sure, 'remove'], [not, 'cancel']].forEach(([step, key]) => {
        say(step, key);
        step.onkeydown = event => event.key === 'Escape' && back();
      });
      tools.textContent = '';
      tools.append(sure, not);
      sure.focus();
    }, '✕');
    label(first, 'remove_who', { name: nameOf(member) });
    tools.append(first);
    return first;
  }

  clear() {
    this.are([]);
  }
}
