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

/** `say(up)` tells the room, once however often it is asked to; `saying()` is whether it still has to. */
export function watchHands(me, say, saying) {
  // {id, said, hidden}: said again in this round; hidden while it may have gone down in a gap.
  let up = [];
  // When one's own is said again at the latest.
  let due = 0;
  let timer = 0;

  const place = () => up.findIndex(hand => hand.id === me);

  const hands = {
    /** Whether one's own is to be up. */
    wanted: false,

    /** Who has a hand up, the first first. */
    ids: () => up.filter(hand => !hand.hidden).map(hand => hand.id),

    /** Raises one's own hand, or lowers it. */
    turn() {
      hands.wanted = !hands.wanted;
      say(hands.wanted);
    },

    /** Somebody raised a hand, lowered it, or said again that it is up. */
    hear(id, content) {
      const hand = up.find(hand => hand.id === id);
      if (content.up === false) {
        hands.lower(id);
      } else if (content.up !== true) {
        return;
      } else if (hand) {
        hand.said = true;
        hand.hidden = false;
      } else {
        up.push({ id, said: true });
      }
      if (id === me && !saying()) {
        hands.wanted = content.up;
      }
    },

    /** Whoever leaves takes the hand along. */
    lower(id) {
      up = up.filter(hand => hand.id !== id);
    },

    /** Only these are here. Who may come back to a hand keeps its place. */
    only(ids) {
      up = up.filter(hand => hand.hidden || ids.has(hand.id));
    },

    /** Somebody is here who has not seen them go up. */
    round() {
      const wait = PATIENCE_MS + STEP_MS * Math.min(place(), STEPS_MOST);
      up.forEach(hand => { hand.said = false; });
      due = performance.now() + wait;
      clearTimeout(timer);
      timer = setTimeout(hands.settle, wait + 1);
    },

    /** What was missed is not known: each hand but one's own may be down. */
    doubt() {
      up.forEach(hand => {
        hand.hidden = hand.id !== me;
        hand.said = false;
      });
    },

    /** Says what the room should know of one's own hand and does not. */
    settle() {
      const at = place();
      const isUp = at >= 0;
      const isTurn = isUp && !up[at].said && (performance.now() >= due || up.slice(0, at).every(hand => hand.said));
      if (hands.wanted !== isUp || (hands.wanted && isTurn)) {
        say(hands.wanted);
      }
    },
  };
  return hands;
}
