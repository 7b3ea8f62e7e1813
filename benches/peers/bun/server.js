// The same protocol on Bun: its own topics (`publish`) do the fan-out, in native code, and put together what goes to one socket in one turn.
//
// Owns: how this library is told. Refuses to know: what is said (see rooms.js).

import { leave, serve } from "../rooms.js";

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    const peer = { seat: null };
    if (server.upgrade(request, { data: peer })) return;
    return new Response("a WebSocket is expected", { status: 426 });
  },
  websocket: {
    maxPayloadLength: 16 * 1024,
    idleTimeout: 125,
    // One that reads too slowly is closed, as the hub does.
    backpressureLimit: 256 * 1024,
    closeOnBackpressureLimit: true,
    publishToSelf: true,
    perMessageDeflate: false,
    open(socket) {
      const peer = socket.data;
      peer.send = (text) => socket.send(text);
      peer.subscribe = (room) => socket.subscribe(room.number);
      peer.unsubscribe = (room) => socket.unsubscribe(room.number);
    },
    message(socket, text) {
      serve(socket.data, text, publish);
    },
    close(socket) {
      leave(socket.data, "closed", publish);
    },
  },
});

function publish(room, text) {
  server.publish(room.number, text);
}

console.log(`listening on http://127.0.0.1:${server.port}`);
