// Who was here, from when to when.
//
// Owns: the comings and goings that this page saw, by the hub's clock, and the table that a teacher takes home.
// Refuses to know: the room, the connection, and the words of the table's first line.

const MINUTE_MS = 60000;

// A cell for every spreadsheet. What begins like a formula would be run as one: an apostrophe makes it text.
function cell(value) {
  const text = String(value).replace(/^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/, '\'$&');
  return '"' + text.replace(/"/g, '""') + '"';
}

// Not in a language's own way: a spreadsheet is to understand it.
function local(time, withClock) {
  const date = new Date(time - new Date(time).getTimezoneOffset() * MINUTE_MS);
  return isNaN(date) ? '' : date.toISOString().slice(0, withClock ? 19 : 10).replace('T', ' ');
}

export class Attendance {
  constructor() {
    this.clear();
  }

  /** Another lesson. */
  clear() {
    this.people = new Map(); // id to {name, number, first, last, since, ms}; since is 0 for who is away
    this.seen = 0; // the number of the last frame that is counted in
    this.begin = 0; // the earliest that anything is known of
  }

  /** A frame has come; whether it is news, and not in what was kept. */
  isNews(seq, time) {
    if (seq <= this.seen) {
      return false;
    }
    this.seen = seq;
    this.begin = this.begin || time;
    return true;
  }

  came(member, time) {
    const known = this.people.get(member.id);
    const person = known || { first: time, last: 0, since: 0, ms: 0 };
    person.name = member.personName || member.nickName || '';
    person.number = member.personNum || '';
    person.since = person.since || time;
    this.people.set(member.id, person);
  }

  went(member, time) {
    if (!this.people.has(member.id)) {
      this.came(member, this.begin);
    }
    const person = this.people.get(member.id);
    if (person.since > 0) {
      person.ms += Math.max(0, time - person.since);
      person.since = 0;
      person.last = time;
    }
  }

  /** Exactly these are here; `time` is when those came who were not seen to. */
  are(members, time) {
    const here = new Set(members.map(member => member.id));
    this.people.forEach((person, id) => {
      if (!here.has(id)) {
        this.went({ id }, time);
      }
    });
    members.forEach(member => {
      const known = this.people.get(member.id);
      if (!known || known.since === 0) {
        this.came(member, known ? time : this.begin || time);
      }
    });
    this.begin = this.begin || time;
  }

  /** What a reload has to keep. */
  kept() {
    return { seen: this.seen, begin: this.begin, people: Array.from(this.people) };
  }

  restore(kept) {
    this.seen = kept.seen;
    this.begin = kept.begin;
    this.people = new Map(kept.people);
  }

  /** The table, with this first line, as of now: a line for each person. */
  table(titles, now) {
    const lines = [titles];
    this.people.forEach(person => {
      const ms = person.ms + (person.since > 0 ? Math.max(0, now - person.since) : 0);
      lines.push([
        person.name,
        person.number,
        local(person.first, true),
        person.since > 0 ? '' : local(person.last, true),
        (ms / MINUTE_MS).toFixed(1),
      ]);
    });
    // The mark at the beginning has a spreadsheet read it as UTF-8.
    return '\ufeff' + lines.map(line => line.map(cell).join(',') + '\r\n').join('');
  }

  /** Has the browser keep the table as a file. */
  download(room, titles, now) {
    const link = document.createElement('a');
    const file = new Blob([this.table(titles, now)], { type: 'text/csv;charset=utf-8' });
    link.href = URL.createObjectURL(file);
    link.download = 'attendance-' + room.replace(/[^\w\u00a0-\ud7ff\uf900-\ufdcf\ufdf0-\uffdc-]/g, '_') + '-' + local(now, false) + '.csv';
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), MINUTE_MS);
  }
}
