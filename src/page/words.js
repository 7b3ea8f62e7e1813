// Every word that the page says by itself, in Chinese and in English.
//
// Owns: the texts, which language is spoken, and saying a text again when the language changes.
// Refuses to know: when something is said. What the hub says (its `msg`) is shown as it came and
// is not translated here: the page would have to guess, and the hub knows better.

const LANGUAGES = ['zh', 'en'];

// Each text stands beside its translation, so that neither is forgotten when the other changes.
// The words for a place in the room are chosen for pupils: nobody here needs to know "WebSocket".
const WORDS = {
  classroom: ['课堂', 'Classroom'],
  other_language: ['English', '中文'],
  name: ['姓名', 'Name'],
  number: ['学号', 'Number'],
  optional: ['可不填', 'optional'],
  room: ['房间号', 'Room'],
  i_teach: ['我是老师', 'I am the teacher'],
  passcode: ['教师口令', 'Teacher’s passcode'],
  code: ['房间口令', 'Room passcode'],
  join: ['加入', 'Join'],
  leave: ['离开', 'Leave'],
  send: ['发送', 'Send'],
  message: ['消息', 'Message'],
  talk: ['聊天', 'Talk'],
  here: ['在场', 'Here'],
  people: ['人', 'people', 'person'],
  you: ['（我）', '(you)'],
  teacher: ['老师', 'teacher'],
  invite: ['邀请', 'Invite'],
  add_room: ['再加入一个房间', 'Join another room'],
  new_room: ['新房间', 'New room'],
  try_again: ['再试一次', 'Try again'],
  try_now: ['立即重试', 'Try now'],
  cancel: ['取消', 'Cancel'],

  hand: ['举手', 'Raise hand'],
  hand_up: ['已举手', 'hand up'],
  poll: ['投票', 'Poll'],
  poll_question: ['问题', 'Question'],
  poll_choices: ['选项，每行一个', 'Choices, one on each line'],
  poll_ask: ['发起投票', 'Start the poll'],
  poll_wrong: ['请填写 2 至 {most} 个简短的选项。', 'Please give 2 to {most} short choices.'],
  poll_votes: ['{n} 票 · {percent}%', '{n} votes · {percent}%', '{n} vote · {percent}%'],
  poll_total: ['共 {n} 票', '{n} votes so far', '{n} vote so far'],
  poll_result: ['已结束，共 {n} 票', 'closed with {n} votes', 'closed with {n} vote'],
  poll_end: ['结束投票', 'End the poll'],
  poll_hide: ['收起', 'Hide'],

  lock: ['锁定房间', 'Lock the room'],
  quiet: ['安静模式', 'Quiet'],
  attendance: ['下载考勤表', 'Attendance (CSV)'],
  minutes: ['在场分钟', 'minutes present'],
  remove: ['移出', 'Remove'],
  remove_who: ['移出{name}', 'Remove {name}'],
  removed: ['已移出', 'Removed'],
  let_in: ['让{name}回来', 'Let {name} back in'],
  is_locked: ['房间已锁定，新人不能加入。', 'Locked: nobody new can join.'],
  is_quiet: ['安静：只有老师可以发言。', 'Quiet: only the teacher can write.'],

  state_out: ['未加入房间', 'Not in a room'],
  state_connecting: ['正在连接…', 'Connecting…'],
  state_joined: ['已在房间中', 'In the room'],
  state_waiting: ['正在重新连接', 'Reconnecting'],
  state_refused: ['加入被拒', 'Refused'],
  state_offline: ['本机没有网络', 'Offline'],
  state_closed: ['已断开', 'Disconnected'],
  countdown: ['（{n} 秒后）', 'in {n} s'],

  joined: ['加入了房间', 'joined'],
  left: ['离开了房间', 'left'],
  left_closed: ['关闭了页面', 'closed the page'],
  left_lost: ['断线了', 'lost the connection'],
  left_removed: ['被移出了房间', 'was removed'],
  entered: ['您已加入房间', 'You are in the room'],
  gap: ['这里缺了一些消息：服务器已经没有了。', 'Some messages are missing here: the hub no longer has them.'],
  waiting: ['等待发送：', 'Waiting to be sent:'],
  received_by: ['{of} 人中 {n} 人已收到', 'received by {n} of {of}'],

  coming_back: ['本页面会自动重试。', 'This page keeps trying by itself.'],
  closed_1006: ['与服务器的连接断开了。', 'The connection to the hub was lost.'],
  closed_null: ['连不上服务器。', 'The hub could not be reached.'],
  closed_offline: ['本机断开了网络。', 'This device lost its network.'],
  closed_1001: ['服务器停止或重启了。', 'The hub was stopped or restarted.'],
  closed_1008: ['本页面发得太多或多次被拒。', 'This page sent too much or was refused too often.'],
  closed_4000: ['服务器太久没收到本页面的消息。', 'The hub had not heard from this page for too long.'],
  closed_4001: ['您的座位已在另一个页面或客户端中使用。', 'Your seat was taken over by another page or app.'],
  closed_other: ['服务器断开了连接（代码 {code}）。', 'The hub hung up (code {code}).'],
  closed_removed: ['您被移出了房间。想回来请找老师。', 'You were removed from the room. Ask your teacher to let you back in.'],
  duplicate: ['请先离开那个页面，再试一次。', 'You are here in another page or app already: leave it there, then try again.'],
  duplicate_held: ['服务器还留着您先前的座位。', 'The hub still keeps your earlier seat.'],

  name_missing: ['请填写姓名。', 'Please enter your name.'],
  room_missing: ['请填写房间号。', 'Please enter a room.'],
  too_long: ['太长：{n} 字节，最多 {most} 字节（一个汉字 3 字节）。', 'Too long: {n} bytes, and {most} is the most (a plain letter is one).'],
  text_away: ['没有连上房间，连上后再发送。', 'Not in the room: send this once you are back.'],
  text_unsure: ['这段文字可能没有送达。', 'This may not have arrived.'],
};

let spokenAt = 0;

// What an element says, where that has parts to fill in. Without an entry it is its key alone.
const parts = new WeakMap();

/** The language now spoken, as an element's `lang` would have it. */
export const language = () => LANGUAGES[spokenAt];

/** The other language: what the switch changes to. */
export const otherLanguage = () => LANGUAGES[1 - spokenAt];

/** Speaks `wanted` from now on, or the nearest there is. What is there already says it when it is dressed again. */
export function speak(wanted) {
  spokenAt = /^zh\b/i.test(wanted || '') ? 0 : 1;
  document.documentElement.lang = ['zh-CN', 'en'][spokenAt];
}

/** Lets everything within `root` speak the language now spoken. */
export function dress(root) {
  const each = (name, then) => root.querySelectorAll('[data-' + name + ']').forEach(element => {
    then(element, text(element.dataset[name], parts.get(element)));
  });
  each('say', (element, words) => { element.textContent = words; });
  each('label', (element, words) => element.setAttribute('aria-label', words));
  each('hint', (element, words) => { element.placeholder = words; });
  root.querySelectorAll('time').forEach(tell);
}

/** Whether there is such a text. */
export const known = key => key in WORDS;

/** The text for `key` with its `{…}` filled in. A third text is what English says of one. */
export function text(key, filling = {}) {
  const forms = WORDS[key];
  const form = spokenAt === 1 && filling.n === 1 && forms[2] || forms[spokenAt];
  // A part keeps its writing direction to itself.
  return form.replace(/\{(\w+)\}/g, (whole, part) => typeof filling[part] === 'string' ? '\u2068' + filling[part] + '\u2069' : filling[part]);
}

/** Lets `element` say the text, now and in whatever language comes; `null` silences it. */
export function say(element, key, filling) {
  const words = key === null ? '' : text(key, filling);
  parts.set(element, filling);
  if (key === null) {
    element.removeAttribute('data-say');
  } else {
    element.dataset.say = key;
  }
  // Writing the same words again would have a screen reader read them again.
  if (element.textContent !== words) {
    element.textContent = words;
  }
}

/** A new element that says the text. */
export function spoken(key, filling) {
  const element = document.createElement('span');
  say(element, key, filling);
  return element;
}

/** Lets `element` be called so by a screen reader, in place of what is in it. */
export function label(element, key, filling) {
  element.dataset.label = key;
  parts.set(element, filling);
  element.setAttribute('aria-label', text(key, filling));
}

function tell(element) {
  const date = new Date(element.dateTime);
  const { lang } = document.documentElement;
  element.title = date.toLocaleString(lang);
  element.textContent = date.toLocaleTimeString(lang, { hour: '2-digit', minute: '2-digit' });
}

/** A point in time, by the hub's clock, as one says it in the language now spoken. */
export function clock(time) {
  const element = document.createElement('time');
  element.dateTime = new Date(time).toISOString();
  tell(element);
  return element;
}
