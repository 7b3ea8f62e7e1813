// Quick polls: a question, up to six choices, and what each is to whom.
//
// Owns: the polls of a room, their votes, one's own poll and votes, the cards that show them, and telling again what a
// newcomer can't know.
// Refuses to know: the connection, who is in the room, and the form in which a poll is written.
//
// The hub keeps no polls; each page counts for itself, and all have to come to the same. So a vote counts while its voter
// is here and the poll is open, whoever leaves takes it along, and what a closed poll came to never changes. A poll
// is its author's: it is closed by nobody else, by the author's leaving, or by the author's next one.

import { arrange, button, make, nameElement } from './element.js';
import { say } from './words.js';

/** The most choices of a poll. */
export const CHOICES_MOST = 6;
// What a page takes from others. What does not fit is ignored.
const ID_MOST = 64;
const QUESTION_MOST = 500;
const CHOICE_MOST = 200;
// A page must not grow with what somebody makes up: polls, cards, voters, and polls that nobody has opened yet.
const KNOWN_MOST = 8;
const SHOWN_MOST = 3;
const VOTERS_MOST = 1100;
const STRANGE_MOST = 4;
// One's own poll is told again once for all who come within this.
const TOGETHER_MS = 500;

function isText(value, most) {
  return typeof value === 'string' && value !== '' && value.length <= most;
}

function isPoll(content) {
  return (content.question === undefined || content.question === '' || isText(content.question, QUESTION_MOST))
    && Array.isArray(content.choices) && content.choices.length > 0 && content.choices.length <= CHOICES_MOST
    && content.choices.every(choice => isText(choice, CHOICE_MOST));
}

// Lets go of the oldest while there are more than `most`.
function bound(map, most) {
  while (map.size > most) {
    map.delete(map.keys().next().value);
  }
}

export class Polls {
  /**
   * `on`: `say(key, content)` tells the room, once however often it is asked to; `saying(key)` is whether it still has
   * to; `isOwner(id)`.
   */
  constructor(root, me, on) {
    this.root = root;
    this.me = me;
    this.on = on;
    this.clear();
  }

  /** Another room. */
  clear() {
    this.polls = new Map(); // id to the poll, the earliest first
    this.votes = new Map(); // id of a poll, known or not yet, to a map from voters to choices
    this.mine = null; // one's own open poll
    this.chosen = new Map(); // id of a poll to one's own choice
    this.gone = []; // ids of the polls that one does not want to see any more
    this.repeat = false; // whether somebody is here who does not know one's own
    this.spoke = -TOGETHER_MS;
    clearTimeout(this.timer);
    this.draw();
  }

  kept() {
    return { mine: this.mine, chosen: Array.from(this.chosen), gone: this.gone };
  }

  restore(kept) {
    this.mine = kept.mine;
    this.chosen = new Map(kept.chosen);
    this.gone = kept.gone;
  }

  // ---- What is heard ----

  hear(from, content) {
    const id = from.id;
    const poll = this.polls.get(content.id);
    if (!isText(content.id, ID_MOST)) {
      return;
    }
    if (content.vote !== undefined) {
      this.vote(id, content, poll);
    } else if (poll && poll.by !== id) {
      return;
    } else if (content.open === false) {
      this.close(poll);
      if (id === this.me && this.mine && this.mine.id === content.id && !this.on.saying('poll')) {
        this.mine = null;
      }
    } else if (isPoll(content)) {
      this.open(from, content, poll);
    }
    this.draw();
  }

  vote(voter, { id, vote }, poll) {
    const choices = poll ? poll.choices.length : CHOICES_MOST;
    if (!Number.isInteger(vote) || vote < 0 || vote >= choices || (poll && !poll.open)) {
      return;
    }
    if (!this.votes.has(id)) {
      this.votes.set(id, new Map());
      const strange = Array.from(this.votes.keys()).filter(id => !this.polls.has(id));
      strange.slice(0, -STRANGE_MOST).forEach(id => this.votes.delete(id));
    }
    const votes = this.votes.get(id);
    if (votes.has(voter) || votes.size < VOTERS_MOST) {
      votes.set(voter, vote);
    }
    if (voter === this.me) {
      if (!this.on.saying('vote.' + id)) {
        this.chosen.set(id, vote);
        bound(this.chosen, KNOWN_MOST);
      }
      if (poll) {
        poll.owed = false;
      }
    }
  }

  open(from, { id, question, choices }, known) {
    const by = from.id;
    if (!known) {
      this.polls.forEach(poll => poll.by === by && this.close(poll));
      this.polls.set(id, { id, by, from, question: question || '', choices });
      const votes = this.votes.get(id) || new Map();
      votes.forEach((vote, voter) => vote < choices.length || votes.delete(voter));
      this.votes.set(id, votes);
      const closed = Array.from(this.polls.values()).find(poll => poll.open === false);
      if (closed && this.polls.size > KNOWN_MOST) {
        this.forget(closed);
      }
      bound(this.polls, KNOWN_MOST);
    }
    const poll = this.polls.get(id);
    if (!poll.open) {
      poll.open = true;
      poll.card = null;
      this.votes.set(id, this.votes.get(id) || new Map());
    }
    // Whoever it is repeated for does not know one's own vote either.
    poll.owed = true;
    if (by === this.me) {
      this.repeat = false;
      if (!this.on.saying('poll')) {
        this.mine = { id, question: poll.question, choices };
      }
    }
  }

  close(poll) {
    if (!poll || !poll.open) {
      return;
    }
    poll.result = this.count(poll);
    poll.open = false;
    poll.card = null;
    this.votes.delete(poll.id);
  }

  forget(poll) {
    this.polls.delete(poll.id);
    this.votes.delete(poll.id);
  }

  // How many chose each.
  count(poll) {
    const counts = poll.choices.map(() => 0);
    (this.votes.get(poll.id) || new Map()).forEach(vote => { counts[vote] += 1; });
    return counts;
  }

  // ---- Who comes and goes ----

  /** Somebody is here who knows nothing of one's own poll. */
  round() {
    this.repeat = true;
  }

  leave(id) {
    this.votes.forEach(votes => votes.delete(id));
    this.polls.forEach(poll => poll.by === id && this.close(poll));
    this.draw();
  }

  /** Only these are here. */
  only(ids) {
    this.votes.forEach(votes => votes.forEach((vote, id) => ids.has(id) || votes.delete(id)));
    this.polls.forEach(poll => ids.has(poll.by) || this.close(poll));
    this.draw();
  }

  /** What was missed is not known: nobody's votes are, nor whether a poll of others is still open. */
  doubt() {
    this.polls.forEach(poll => poll.open && poll.by !== this.me && this.polls.delete(poll.id));
    this.votes.clear();
    this.repeat = true;
    this.draw();
  }

  // ---- What is said ----

  /** Opens one's own. */
  ask(id, question, choices) {
    this.mine = { id, question, choices };
    this.announce();
  }

  announce() {
    this.spoke = performance.now();
    this.on.say('poll', Object.assign({}, this.mine, { open: true }));
  }

  choose(poll, choice) {
    this.chosen.set(poll.id, choice);
    this.on.say('vote.' + poll.id, { id: poll.id, vote: choice });
    this.draw();
  }

  end(poll) {
    this.mine = null;
    this.on.say('poll', { id: poll.id, open: false });
  }

  /** The hub does not want it. */
  refused(key) {
    if (key === 'poll') {
      this.mine = null;
    } else {
      this.chosen.delete(key.slice('vote.'.length));
    }
    this.draw();
  }

  /** Says what the room should know of one's own poll and votes and does not. */
  settle() {
    const shown = this.mine && this.polls.get(this.mine.id);
    clearTimeout(this.timer);
    if (this.mine && (this.repeat || !shown || !shown.open)) {
      const wait = this.spoke + TOGETHER_MS - performance.now();
      if (wait <= 0) {
        this.announce();
      } else {
        this.timer = setTimeout(() => this.settle(), wait);
      }
    }
    this.chosen.forEach((choice, id) => {
      const poll = this.polls.get(id);
      const votes = this.votes.get(id);
      if (poll && poll.open && (poll.owed || !votes || votes.get(this.me) !== choice)) {
        this.on.say('vote.' + id, { id, vote: choice });
      }
    });
  }

  // ---- What is seen ----

  draw() {
    const first = poll => poll.by === this.me || this.on.isOwner(poll.by) ? 1 : 0;
    const shown = Array.from(this.polls.values()).reverse().filter(poll => !this.gone.includes(poll.id))
      .sort((a, b) => b.open - a.open || first(b) - first(a)).slice(0, SHOWN_MOST);
    shown.forEach(poll => {
      if (!poll.card) {
        this.makeCard(poll);
      }
      this.drawCard(poll);
    });
    const cards = shown.map(poll => poll.card);
    const form = this.root.querySelector('form');
    arrange(this.root, form ? [form].concat(cards) : cards);
    cards.forEach((card, i) => { card.id = i === 0 ? 'poll' : ''; });
  }

  makeCard(poll) {
    const card = make('section', poll.open ? 'poll' : 'poll closed');
    card.dataset.id = poll.id;
    const question = make('h2', '', make('bdi', '', poll.question));
    if (poll.question === '') {
      say(question.firstChild, 'poll');
    }
    const list = make('ul');
    poll.rows = poll.choices.map((choice, i) => {
      const words = make('bdi', '', choice);
      const row = {
        press: poll.open ? button('vote', () => this.choose(poll, i), words) : make('span', 'vote', words),
        bar: make('span'),
        votes: make('span', 'votes'),
      };
      list.append(make('li', '', row.press, make('span', 'bar', row.bar), row.votes));
      return row;
    });
    poll.total = make('span', 'total');
    const under = make('p', 'under', nameElement(poll.from), ' · ', poll.total);
    const isMine = poll.by === this.me;
    if (!poll.open || isMine || !this.on.isOwner(poll.by)) {
      const then = () => {
        if (poll.open && isMine) {
          this.end(poll);
        } else {
          this.gone = this.gone.concat(poll.id).slice(-KNOWN_MOST);
          this.draw();
        }
      };
      const stop = button('quiet', then);
      say(stop, poll.open && isMine ? 'poll_end' : 'poll_hide');
      under.append(stop);
    }
    card.append(question, list, under);
    poll.card = card;
  }

  drawCard(poll) {
    const counts = poll.open ? this.count(poll) : poll.result;
    const all = counts.reduce((sum, n) => sum + n, 0);
    poll.rows.forEach((row, i) => {
      const percent = all === 0 ? 0 : Math.round(100 * counts[i] / all);
      row.bar.style.width = percent + '%';
      say(row.votes, 'poll_votes', { n: counts[i], percent });
      if (poll.open) {
        row.press.setAttribute('aria-pressed', String(this.chosen.get(poll.id) === i));
      } else {
        row.press.classList.toggle('chosen', this.chosen.get(poll.id) === i);
      }
    });
    say(poll.total, poll.open ? 'poll_total' : 'poll_result', { n: all });
  }
}
