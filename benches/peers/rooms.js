// Rooms and what is said in them, as the hub words it, for the peers that run JavaScript.
//
// Owns: who is in which room, in the order of their joins, and the text of every reply, made once however many hear it. Refuses to know: sockets; a
// peer hands in what its library offers for "send to one" and "send to all in a room". What the hub does beside that (limits, heartbeats, history,
// receipts) it leaves out.

const rooms = new Map();

/** Serves `request` (text) of `peer`, an object with `seat`, `send(text)`, `subscribe(room)`, `unsubscribe(room)`; `publish(room, text)` tells all. */
export function serve(peer, request, publish) {
  let message;
  try {
    message = JSON.parse(request);
  } catch {
    return peer.send(failure("not JSON", "bad_json"));
  }
  const { dataType, data } = message.textData ?? {};
  if (message.msgType === 3 && dataType === 3) return chat(peer, data, publish);
  if (message.msgType === 2 && dataType === 1) return join(peer, data, publish);
  if (dataType === 2) return leave(peer, "left", publish);
  if (message.msgType !== 1) peer.send(failure("an unknown type", "unknown_type"));
}

/** Ends the seat of `peer`, if it has one: everyone hears of it, and `peer` itself where it asked. */
export function leave(peer, reason, publish) {
  const { seat } = peer;
  if (!seat) return;
  const { room, member } = seat;
  room.members.delete(member.id);
  peer.seat = null;
  const data = { ...fields(room), newLeaveMember: member };
  publish(room, reply("Leave", 2, data, { ...stamp(room), reason }));
  peer.unsubscribe(room);
}

function join(peer, { from, roomNumber }, publish) {
  if (peer.seat) return peer.send(failure("already in a room", "too_many_rooms"));
  const { id, personName = "", personNum = "", nickName = "", headImgUrl = "" } = from;
  const member = { id, personName, personNum, nickName, headImgUrl };
  let room = rooms.get(roomNumber);
  if (!room) {
    room = { number: roomNumber, owner: member, createTime: Date.now(), seq: 0, members: new Map(), peers: new Set() };
    rooms.set(roomNumber, room);
  }
  if (room.members.has(id)) {
    return peer.send(failure("连接被拒,您已在其他页面或客户端加入该房间,请先将其退出!"));
  }
  const at = stamp(room);
  publish(room, reply("Join", 1, { ...fields(room), newJoinMember: member }, at));
  room.members.set(id, member);
  peer.seat = { room, member };
  peer.subscribe(room);
  // The peers keep no secret, and take no resume: it is only as long as a token.
  const resumeToken = `${at.seq}.${"0123456789abcdef".repeat(2)}`;
  const data = { ...fields(room), members: [...room.members.values()], newJoinMember: member };
  peer.send(reply("Join", 1, data, { ...at, resumeToken }));
}

function chat(peer, { roomNumber, content }, publish) {
  const { seat } = peer;
  if (seat?.room.number !== roomNumber) return peer.send(failure("you are not in this room", "not_joined"));
  publish(seat.room, reply("Chat", 3, { from: seat.member, roomNumber, content }, stamp(seat.room)));
}

function fields({ number, owner, createTime }) {
  return { number, name: number, desc: "", owner, createTime };
}

function stamp(room) {
  room.seq += 1;
  return { seq: room.seq, time: Date.now() };
}

function reply(what, dataType, data, extendFields) {
  const resultBody = { msgType: 3, textData: { dataType, data }, extendFields };
  return JSON.stringify({ status: 1, msg: `${what} successfully`, resultBody });
}

function failure(msg, code) {
  return JSON.stringify({ status: 0, msg, resultBody: "", code });
}
