// The hands that are up, in the order in which they went up.
//
// Owns: that order, one's own hand, and telling it again to whoever came too late to see it go up.
// Refuses to know: the connection, and what a hand looks like.
//
// The hub keeps no hands. When somebody comes, or asks, a round begins: the page whose hand is first says so again at
// once, each next one when all before it have, so that the newcomer hears of them in their order. Whoever hears of a hand
// that is up already leaves it in its place.

// A page that is asleep must not silence those behind it for longer; each of them waits a little longer than the one
// before it, to keep the order.
const PATIENCE_MS = 2000;
const STEP_MS = 50;
const STEPS_MOST = 40;

export class Hands {
  /** `on`: `say(up)` tells the room, once however often it is asked to; `saying()` is whether it still has to. */
  constructor(me, on) {
    this.me = me;
    this.on = on;
    this.up = []; // {id, said, hidden}: said again in this round; hidden if it may have gone down in a gap
    this.wanted = false; // whether one's own is to be up
    this.due = 0; // when one's own is said again at the latest
    this.timer = 0;
  }

  /** Who has a hand up, the first first. */
  ids() {
    return this.up.filter(hand => !hand.hidden).map(hand => hand.id);
  }

  /** Raises one's own hand, or lowers it. */
  want(up) {
    this.wanted = up;
    this.on.say(up);
  }

  /** Somebody raised a hand, lowered it, or said again that it is up. */
  hear(id, content) {
    if (typeof content.up !== 'boolean') {
      return;
    }
    const hand = this.up.find(hand => hand.id === id);
    if (!content.up) {
      this.lower(id);
    } else if (hand) {
      hand.said = true;
      hand.hidden = false;
    } else {
      this.up.push({ id, said: true, hidden: false });
    }
    if (id === this.me && !this.on.saying()) {
      this.wanted = content.up;
    }
  }

  /** Whoever leaves takes the hand along. */
  lower(id) {
    this.up = this.up.filter(hand => hand.id !== id);
  }

  /** Only these are here. */
  only(ids) {
    this.up = this.up.filter(hand => ids.has(hand.id));
  }

  /** Somebody is here who has not seen them go up. */
  round() {
    this.up.forEach(hand => { hand.said = false; });
    const place = this.up.findIndex(hand => hand.id === this.me);
    const wait = PATIENCE_MS + STEP_MS * Math.min(place, STEPS_MOST);
    this.due = performance.now() + wait;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.settle(), wait);
  }

  /** What was missed is not known: each hand but one's own may be down. */
  doubt() {
    this.up.forEach(hand => { hand.hidden = hand.id !== this.me; });
  }

  /** Says what the room should know of one's own hand and does not. */
  settle() {
    const place = this.up.findIndex(hand => hand.id === this.me);
    if (this.wanted !== place >= 0) {
      this.on.say(this.wanted);
    } else if (this.wanted && !this.up[place].said
        && (performance.now() >= this.due || this.up.slice(0, place).every(hand => hand.said))) {
      this.on.say(true);
    }
  }

  /** Another room. */
  clear() {
    this.up = [];
    this.wanted = false;
    clearTimeout(this.timer);
  }
}
