// The same protocol on Node and `ws`: everyone in a room is sent the same buffer.
//
// Owns: how this library is told. Refuses to know: what is said (see rooms.js).

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

import { leave, serve } from "../rooms.js";

/** One that has so much waiting reads too slowly, and is closed, as the hub does. */
const WAITING_BYTES_MAX = 256 * 1024;
const AS_TEXT = { binary: false };

const http = createServer((_, response) => response.writeHead(426).end("a WebSocket is expected"));
const sockets = new WebSocketServer({ server: http, maxPayload: 16 * 1024, perMessageDeflate: false, clientTracking: false });

sockets.on("connection", (socket) => {
  const peer = {
    seat: null,
    socket,
    send: (text) => socket.send(text),
    subscribe: (room) => room.peers.add(peer),
    unsubscribe: (room) => room.peers.delete(peer),
  };
  socket.on("message", (data) => serve(peer, data.toString(), publish));
  socket.on("close", () => leave(peer, "closed", publish));
  socket.on("error", () => socket.terminate());
});

function publish(room, text) {
  const frame = Buffer.from(text);
  for (const { socket } of room.peers) {
    if (socket.bufferedAmount > WAITING_BYTES_MAX) socket.close(4002);
    else socket.send(frame, AS_TEXT);
  }
}

http.listen({ host: "127.0.0.1", port: 0, backlog: 1024 }, () => {
  console.log(`listening on http://127.0.0.1:${http.address().port}`);
});
