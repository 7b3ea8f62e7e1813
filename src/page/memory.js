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

/** What is kept under `key`; null if nothing is. */
export function recall(area, key) {
  try {
    return JSON.parse(window[area].getItem('classhub.' + key));
  } catch (error) {
    return null;
  }
}

/** Keeps anything that JSON can say; `null` forgets it. */
export function remember(area, key, thing) {
  try {
    window[area].setItem('classhub.' + key, JSON.stringify(thing));
  } catch (error) {
    // Forbidden, or full.
  }
}

// Not crypto.randomUUID, which a browser keeps from pages that come over plain http.
/** An id that nobody else has. */
export function drawId() {
  const drawn = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(drawn, byte => (byte + 256).toString(16).slice(1)).join('');
}

// The same browser is the same person, lesson after lesson and in each of its tabs.
/** One's own id. */
export const me = recall(BROWSER, 'id') || drawId();
remember(BROWSER, 'id', me);
