// What this browser and this tab remember.
//
// Owns: where it is kept, under which names, and who one is.
// Refuses to know: what any of it is for.
//
// A browser may forbid it, in which case the page works and remembers nothing.

/** Until the tab is closed. */
export const TAB = 'sessionStorage';
/** From one lesson to the next. */
export const BROWSER = 'localStorage';

/** The text kept under `key`; null if there is none. */
export function recall(area, key) {
  try {
    return window[area].getItem('classhub.' + key);
  } catch (error) {
    return null;
  }
}

/** Keeps a text; `null` forgets it. */
export function remember(area, key, value) {
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

/** What was kept by `rememberThing`; null if there is none. */
export function recallThing(area, key) {
  try {
    return JSON.parse(recall(area, key));
  } catch (error) {
    return null;
  }
}

/** Keeps anything that JSON can say. */
export function rememberThing(area, key, thing) {
  remember(area, key, JSON.stringify(thing));
}

// Not crypto.randomUUID, which a browser keeps from pages that come over plain http.
/** An id that nobody else has. */
export function drawId() {
  const drawn = new Uint8Array(16);
  if (window.crypto && crypto.getRandomValues) {
    crypto.getRandomValues(drawn);
  } else {
    drawn.forEach((ignored, i) => { drawn[i] = Math.floor(Math.random() * 256); });
  }
  return Array.from(drawn, byte => (byte + 256).toString(16).slice(1)).join('');
}

// The same browser is the same person, lesson after lesson and in each of its tabs.
/** One's own id. */
export const me = recall(BROWSER, 'id') || drawId();
remember(BROWSER, 'id', me);
