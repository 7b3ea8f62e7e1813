// Who was here, from when to when.
//
// Owns: the comings and goings that this page saw, by the hub's clock, and the table that a teacher takes home.
// Refuses to know: the room, the connection, and the words of the table's first line.

import { nameOf } from './element.js';

const MINUTE_MS = 60000;
// What a file's name may not have in it somewhere, and what could pass for something else.
const UNSAFE = /[^\w\u3400-\u9fff-]/g;

// A cell for every spreadsheet. What begins like a formula would be run as one: an apostrophe makes it text.
function cell(value) {
  const text = String(value).replace(/^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/, '\'$&');
  return '"' + text.replace(/"/g, '""') + '"';
}

// Not in a language's own way: a spreadsheet is to understand it.
function local(time, length) {
  const date = new Date(time - new Date(time).getTimezoneOffset() * MINUTE_MS);
  return date.toISOString().slice(0, length).replace('T', ' ');
}

export function takeAttendance() {
  const lesson = {
    // Id to {name, number, first, last, since, ms}; `since` is 0 for who is away.
    people: new Map(),
    /** The number of the last frame that is counted in. */
    seen: 0,

    /** A frame has come; whether it is news, and not in what was kept. */
    isNews(seq) {
      const isNews = seq > lesson.seen;
      lesson.seen = Math.max(seq, lesson.seen);
      return isNews;
    },

    came(member, time) {
      const person = lesson.people.get(member.id) || { first: time, last: 0, since: 0, ms: 0 };
      person.name = nameOf(member);
      person.number = member.personNum || '';
      person.since = person.since || time;
      lesson.people.set(member.id, person);
    },

    went(member, time) {
      const person = lesson.people.get(member.id);
      if (person && person.since > 0) {
        person.ms += Math.max(0, time - person.since);
        person.since = 0;
        person.last = time;
      }
    },

    /** Exactly these are here; `time` is when those came or went who were not seen to. */
    are(members, time) {
      const here = new Set(members.map(member => member.id));
      lesson.people.forEach((person, id) => here.has(id) || lesson.went({ id }, time));
      members.forEach(member => lesson.came(member, time));
    },

    /** What a reload has to keep. */
    kept: () => Object.assign({}, lesson, { people: Array.from(lesson.people) }),

    restore(kept) {
      Object.assign(lesson, kept, { people: new Map(kept.people) });
    },

    /** The table as of now, with this first line: a line for each person. */
    table(titles, now) {
      const lines = [titles];
      lesson.people.forEach(({ name, number, first, last, since, ms }) => {
        const all = ms + (since > 0 ? Math.max(0, now - since) : 0);
        lines.push([name, number, local(first, 19), since > 0 ? '' : local(last, 19), (all / MINUTE_MS).toFixed(1)]);
      });
      // The mark at the beginning has a spreadsheet read it as UTF-8.
      return '\ufeff' + lines.map(line => line.map(cell).join(',') + '\r\n').join('');
    },

    /** Has the browser keep the table as a file. */
    download(room, titles, now) {
      const link = document.createElement('a');
      link.href = URL.createObjectURL(new Blob([lesson.table(titles, now)], { type: 'text/csv;charset=utf-8' }));
      link.download = 'attendance-' + room.replace(UNSAFE, '_') + '-' + local(now, 10) + '.csv';
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), MINUTE_MS);
    },
  };
  return lesson;
}
