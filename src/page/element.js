// Elements, made in one line.
//
// Owns: how an element comes to be, and a name that keeps its writing direction to itself.
// Refuses to know: what is shown with them.
//
// Whatever came from somebody else gets onto the page through textContent and text nodes alone, so that a name is never
// more than a name.

import { say } from './words.js';

/** A new element with its classes and what is in it: elements, or texts. */
export function make(tag, classes, ...inside) {
  const element = document.createElement(tag);
  element.className = classes;
  element.append(...inside);
  return element;
}

/** A button that does something. */
export function button(classes, then, ...inside) {
  const element = make('button', classes, ...inside);
  element.onclick = then;
  return element;
}

/** A button that says the text `key`. */
export function sayingButton(key, then, filling) {
  const element = button('', then);
  say(element, key, filling);
  return element;
}

/** Tells a screen reader what the eye sees. */
export function aria(element, name, value) {
  element.setAttribute('aria-' + name, String(value));
}

/** What somebody is called. */
export const nameOf = member => String(member.personName || member.nickName || member.id);

/** The same as an element. */
export const nameElement = member => make('bdi', 'name', nameOf(member));

/** Puts these children into `list` in this order, and moves none that stands right: whoever has the focus keeps it. */
export function arrange(list, children) {
  Array.from(list.children).forEach(child => children.includes(child) || child.remove());
  children.forEach((child, i) => {
    if (list.children[i] !== child) {
      list.insertBefore(child, list.children[i]);
    }
  });
}
