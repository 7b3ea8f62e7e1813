// Quick polls: a question, up to six choices, and what each is to whom.
//
// Owns: the polls of a room, their votes, one's own poll and votes, the cards that show them, and telling again what a
// newcomer can't know; and the form in which one is written.
// Refuses to know: the connection, and who is in the room.
//
// The hub keeps no polls; each page counts for itself, and all have to come to the same. So a vote counts while its voter
// is here and the poll is open, whoever leaves takes it along, and what a closed poll came to never changes. A poll
// is its author's: it is closed by nobody else, by the author's leaving, or by the author's next one.

import { aria, arrange, button, make, nameElement, sayingButton } from './element.js';
import { drawId } from './memory.js';
import { say, text } from './words.js';

// The most choices of a poll.
const CHOICES_MOST = 6;
// What a page takes from others. What does not fit is ignored.
const ID_MOST = 64;
const QUESTION_MOST = 500;
const CHOICE_MOST = 200;
// A page must not grow with what somebody makes up: polls, cards, voters, and votes in polls that nobody has opened yet.
const KNOWN_MOST = 8;
const SHOWN_MOST = 3;
const VOTERS_MOST = 1100;
const EARLY_MOST = 4 * VOTERS_MOST;
// One's own poll is told again once for all who come within this.
const TOGETHER_MS = 500;

function isText(value, most) {
  return typeof value === 'string' && value !== '' && value.length <= most;
}

function isPoll({ question, choices }) {
  return (!question || isText(question, QUESTION_MOST)) && Array.isArray(choices) && choices.length > 0
    && choices.length <= CHOICES_MOST && choices.every(choice => isText(choice, CHOICE_MOST));
}

// Lets go of the oldest where there are too many.
function bound(map) {
  if (map.size > KNOWN_MOST) {
    map.delete(map.keys().next().value);
  }
}

/**
 * `at` is the part of the page. `on`: `say(key, content)` tells the room, once however often it is asked to; `saying(key)`
 * is whether it still has to; `isOwner(id)`; `changed()` hears of what was done here.
 */
export function holdPolls(at, me, on) {
  // Id to the poll, the earliest first.
  const known = new Map();
  // {id, voter, vote}: for polls that are not known yet.
  let early = [];
  // Id of a poll to one's own choice.
  let chosen = new Map();
  // Ids of the polls that one does not want to see any more.
  let gone = [];
  // One's own open poll.
  let mine = null;
  // Whether somebody is here who does not know it, and when it was told last.
  let repeat = false;
  let told = -TOGETHER_MS;
  let timer = 0;
  const form = at['poll-form'];

  // ---- What is heard ----

  function vote(voter, { id, vote }, poll) {
    const most = poll ? poll.choices.length : CHOICES_MOST;
    if (!Number.isInteger(vote) || vote < 0 || vote >= most || (poll && !poll.open)) {
      return;
    }
    if (!poll) {
      early = early.concat({ id, voter, vote }).slice(-EARLY_MOST);
    } else if (poll.votes.has(voter) || poll.votes.size < VOTERS_MOST) {
      poll.votes.set(voter, vote);
    }
    if (voter === me) {
      if (!on.saying('vote.' + id)) {
        chosen.set(id, vote);
        bound(chosen);
      }
      if (poll) {
        poll.owed = false;
      }
    }
  }

  function open(from, { id, question, choices }, before) {
    const poll = before || { id, from, question: question || '', choices, votes: new Map() };
    if (!before) {
      closeAll(other => other.from.id === from.id);
      known.set(id, poll);
      bound(known);
      early.forEach(one => one.id === id && one.vote < choices.length && poll.votes.set(one.voter, one.vote));
      early = early.filter(one => one.id !== id);
    }
    if (!poll.open) {
      poll.open = true;
      poll.card = null;
    }
    // Whoever it is repeated for does not know one's own vote either.
    poll.owed = true;
    if (from.id === me && !on.saying('poll')) {
      mine = { id, question: poll.question, choices: poll.choices };
    }
  }

  function closeAll(which) {
    known.forEach(poll => {
      if (poll.open && which(poll)) {
        poll.result = count(poll);
        poll.open = false;
        poll.card = null;
        poll.votes.clear();
      }
    });
  }

  function forget(whose) {
    early = early.filter(one => !whose(one.voter));
    known.forEach(({ votes }) => votes.forEach((vote, voter) => whose(voter) && votes.delete(voter)));
  }

  // How many chose each.
  function count(poll) {
    const counts = poll.choices.map(() => 0);
    poll.votes.forEach(vote => { counts[vote] += 1; });
    return counts;
  }

  // ---- What is said ----

  function announce() {
    told = performance.now();
    repeat = false;
    on.say('poll', Object.assign({}, mine, { open: true }));
  }

  function settle() {
    const shown = mine && known.get(mine.id);
    clearTimeout(timer);
    if (mine && (repeat || !shown || !shown.open)) {
      const wait = told + TOGETHER_MS - performance.now();
      if (wait <= 0) {
        announce();
      } else {
        timer = setTimeout(settle, wait);
      }
    }
    chosen.forEach((vote, id) => {
      const poll = known.get(id);
      if (poll && poll.open && vote < poll.choices.length && (poll.owed || poll.votes.get(me) !== vote)) {
        on.say('vote.' + id, { id, vote });
      }
    });
  }

  // ---- What is seen ----

  function makeCard(poll) {
    const { id, from } = poll;
    const question = make('bdi', '', poll.question || text('poll'));
    poll.rows = poll.choices.map((choice, i) => {
      const words = make('bdi', '', choice);
      const vote = () => {
        chosen.set(id, i);
        on.say('vote.' + id, { id, vote: i });
        on.changed();
      };
      return {
        press: poll.open ? button('vote', vote, words) : make('span', 'vote', words),
        votes: make('span', 'votes'),
        bar: make('span'),
      };
    });
    poll.total = make('span');
    const under = make('p', 'under', nameElement(from), ' · ', poll.total, ' ');
    const ends = poll.open && from.id === me;
    if (ends || !poll.open || !on.isOwner(from.id)) {
      under.append(sayingButton(ends ? 'poll_end' : 'poll_hide', () => {
        if (ends) {
          mine = null;
          on.say('poll', { id, open: false });
        } else {
          gone = gone.concat(id).slice(-KNOWN_MOST);
        }
        on.changed();
      }));
    }
    const list = make('ul', '', ...poll.rows.map(row => make('li', '', row.press, row.votes, make('span', 'bar', row.bar))));
    poll.card = make('section', poll.open ? 'poll' : 'poll closed', make('h2', '', question), list, under);
    poll.card.dataset.id = id;
  }

  function drawCard(poll) {
    const counts = poll.open ? count(poll) : poll.result;
    const n = counts.reduce((sum, n) => sum + n, 0);
    poll.rows.forEach(({ press, bar, votes }, i) => {
      const percent = Math.round(100 * counts[i] / Math.max(1, n));
      bar.style.width = percent + '%';
      say(votes, 'poll_votes', { n: counts[i], percent });
      aria(press, poll.open ? 'pressed' : 'current', chosen.get(poll.id) === i);
    });
    say(poll.total, poll.open ? 'poll_total' : 'poll_result', { n });
  }

  // ---- The form ----

  function turn(shown) {
    form.hidden = !shown;
    aria(at['poll-open'], 'expanded', shown);
    say(at['poll-wrong'], null);
    at[shown ? 'poll-question' : 'poll-open'].focus();
  }

  at['poll-open'].onclick = () => turn(form.hidden);
  at['poll-cancel'].onclick = () => turn(false);
  form.onsubmit = event => {
    const choices = at['poll-choices'].value.split('\n').map(choice => choice.trim()).filter(choice => choice !== '');
    const poll = { id: drawId(), question: at['poll-question'].value.trim(), choices };
    event.preventDefault();
    if (choices.length < 2 || !isPoll(poll)) {
      say(at['poll-wrong'], 'poll_wrong', { most: CHOICES_MOST });
      return;
    }
    mine = poll;
    announce();
    form.reset();
    turn(false);
    on.changed();
  };

  return {
    settle,

    hear(from, content) {
      const { id } = content;
      const poll = known.get(id);
      if (!isText(id, ID_MOST)) {
        return;
      }
      if (content.vote !== undefined) {
        vote(from.id, content, poll);
      } else if (poll && poll.from.id !== from.id) {
        return;
      } else if (content.open === false) {
        closeAll(other => other === poll);
        if (mine && mine.id === id && !on.saying('poll')) {
          mine = null;
        }
      } else if (isPoll(content)) {
        open(from, content, poll);
      }
    },

    /** Somebody is here who knows nothing of one's own poll. */
    round() {
      repeat = true;
    },

    leave(id) {
      forget(voter => voter === id);
      closeAll(poll => poll.from.id === id);
    },

    /** Only these are here. */
    only(ids) {
      forget(voter => !ids.has(voter));
      closeAll(poll => !ids.has(poll.from.id));
    },

    /** What was missed is not known: nobody's votes are, nor whether a poll of others is still open. */
    doubt() {
      known.forEach((poll, id) => poll.open && poll.from.id !== me && known.delete(id));
      forget(() => true);
      repeat = true;
    },

    /** The hub does not want it. */
    refused(key) {
      if (key === 'poll') {
        mine = null;
      } else {
        chosen.delete(key.slice('vote.'.length));
      }
    },

    kept: () => ({ mine, chosen: Array.from(chosen), gone }),

    restore(kept) {
      mine = kept.mine;
      chosen = new Map(kept.chosen);
      gone = kept.gone;
    },

    draw() {
      const weight = ({ open, from }) => (open ? 2 : 0) + (from.id === me || on.isOwner(from.id) ? 1 : 0);
      const shown = Array.from(known.values()).reverse().filter(poll => !gone.includes(poll.id))
        .sort((a, b) => weight(b) - weight(a)).slice(0, SHOWN_MOST);
      shown.forEach(poll => {
        if (!poll.card) {
          makeCard(poll);
        }
        drawCard(poll);
        poll.card.id = poll === shown[0] ? 'poll' : '';
      });
      arrange(at.polls, [form].concat(shown.map(poll => poll.card)));
    },
  };
}
