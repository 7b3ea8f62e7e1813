//! The same protocol on axum, to stand beside the hub in the benchmark.
//!
//! Owns: joins, leaves and chat as the hub words them, on what this library offers for it: a task for each connection, and for each room a broadcast
//! channel of texts that are made once and shared. What has come until a task wakes goes out with one flush. Refuses to know: everything else that
//! the hub does, such as limits, heartbeats, history and receipts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt;
use futures_util::SinkExt;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

/// Frames that a room holds for its readers; one that lags by more is closed.
const ROOM_FRAMES: usize = 1024;
/// One message from a client.
const MESSAGE_BYTES: usize = 16 * 1024;
/// Frames that are put together before the socket is flushed.
const FRAMES_TOGETHER: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    msg_type: u32,
    #[serde(borrow)]
    text_data: TextData<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TextData<'a> {
    data_type: u32,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    from: Option<Member>,
    room_number: String,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    id: String,
    #[serde(default)]
    person_name: String,
    #[serde(default)]
    person_num: String,
    #[serde(default)]
    nick_name: String,
    #[serde(default)]
    head_img_url: String,
}

#[derive(Serialize)]
struct Reply<D: Serialize> {
    status: u32,
    msg: &'static str,
    #[serde(rename = "resultBody")]
    result_body: Body<D>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<D: Serialize> {
    msg_type: u32,
    text_data: Told<D>,
    extend_fields: Stamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<D: Serialize> {
    data_type: u32,
    data: D,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stamp {
    seq: u64,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    resume_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Said<'a> {
    from: &'a RawValue,
    room_number: &'a str,
    content: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoomTold<'a> {
    number: &'a str,
    name: &'a str,
    desc: &'a str,
    owner: &'a RawValue,
    create_time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<&'a RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_join_member: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_leave_member: Option<&'a RawValue>,
}

struct Room {
    number: String,
    owner: Arc<RawValue>,
    created_ms: u64,
    seq: u64,
    /// In the order of their joins, by id, each as JSON.
    members: Vec<(String, Arc<RawValue>)>,
    frames: broadcast::Sender<Utf8Bytes>,
}

impl Room {
    fn new(number: String, owner: Arc<RawValue>) -> Room {
        let (frames, _) = broadcast::channel(ROOM_FRAMES);
        Room { number, owner, created_ms: now_ms(), seq: 0, members: Vec::new(), frames }
    }

    fn stamp(&mut self) -> Stamp {
        self.seq += 1;
        Stamp { seq: self.seq, time: now_ms(), resume_token: None, reason: None }
    }

    fn told(&self) -> RoomTold<'_> {
        RoomTold {
            number: &self.number,
            name: &self.number,
            desc: "",
            owner: &self.owner,
            create_time: self.created_ms,
            members: None,
            new_join_member: None,
            new_leave_member: None,
        }
    }

    /// To everyone who is here.
    fn publish(&self, frame: String) {
        // Nobody may be here.
        let _nobody = self.frames.send(frame.into());
    }
}

type Rooms = Arc<Mutex<HashMap<String, Room>>>;

/// Where a connection sits.
struct Seat {
    room: String,
    id: String,
    member: Arc<RawValue>,
    frames: broadcast::Receiver<Utf8Bytes>,
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn text<D: Serialize>(msg: &'static str, data_type: u32, data: D, stamp: Stamp) -> String {
    let text_data = Told { data_type, data };
    let reply = Reply { status: 1, msg, result_body: Body { msg_type: 3, text_data, extend_fields: stamp } };
    serde_json::to_string(&reply).expect("plain data is always JSON")
}

fn failure(msg: &str, code: &str) -> Own {
    Own::Reply(serde_json::json!({"status": 0, "msg": msg, "resultBody": "", "code": code}).to_string().into())
}

/// What a request comes to for whoever made it, beside what everyone is told.
enum Own {
    Nothing,
    Reply(Utf8Bytes),
    /// It has left its room.
    Left,
}

fn request(rooms: &Rooms, seat: &mut Option<Seat>, request: &str) -> Own {
    let Ok(Request { msg_type, text_data: TextData { data_type, data } }) = serde_json::from_str(request) else {
        return failure("not a request", "bad_json");
    };
    let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    match (msg_type, data_type, data) {
        (2, 1, Data { from: Some(from), room_number, .. }) if seat.is_none() => {
            let member: Arc<RawValue> =
                serde_json::value::to_raw_value(&from).expect("plain data is always JSON").into();
            let room =
                rooms.entry(room_number.clone()).or_insert_with(|| Room::new(room_number.clone(), Arc::clone(&member)));
            if room.members.iter().any(|(id, _)| *id == from.id) {
                return failure("连接被拒,您已在其他页面或客户端加入该房间,请先将其退出!", "duplicate");
            }
            let stamp = room.stamp();
            let resume_token = Some(format!("{}.{:032x}", stamp.seq, rand_of(stamp.seq)));
            let own = Stamp { seq: stamp.seq, time: stamp.time, resume_token, reason: None };
            let told = RoomTold { new_join_member: Some(&member), ..room.told() };
            room.publish(text("Join successfully", 1, told, stamp));
            room.members.push((from.id.clone(), Arc::clone(&member)));
            let members = Some(room.members.iter().map(|(_, member)| &**member).collect());
            let told = RoomTold { members, new_join_member: Some(&member), ..room.told() };
            let reply = text("Join successfully", 1, told, own);
            *seat = Some(Seat { room: room_number, id: from.id, frames: room.frames.subscribe(), member });
            Own::Reply(reply.into())
        }
        (3, 3, Data { content: Some(content), room_number, .. }) => {
            let Some(Seat { member, .. }) = seat.as_ref().filter(|seat| seat.room == room_number) else {
                return failure("you are not in this room", "not_joined");
            };
            let Some(room) = rooms.get_mut(&room_number) else { return Own::Nothing };
            let stamp = room.stamp();
            let said = Said { from: member, room_number: &room_number, content };
            room.publish(text("Chat successfully", 3, said, stamp));
            Own::Nothing
        }
        (2 | 3, 2, _) => {
            let Some(seat) = seat else { return failure("you are not in this room", "not_joined") };
            leave(&mut rooms, seat, "left");
            Own::Left
        }
        (1, ..) => Own::Nothing,
        _ => failure("an unknown type", "unknown_type"),
    }
}

/// Something for a token; the peers keep no secret, and take no resume.
fn rand_of(seq: u64) -> u128 {
    u128::from(seq).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
}

fn leave(rooms: &mut HashMap<String, Room>, seat: &Seat, reason: &'static str) {
    let Some(room) = rooms.get_mut(&seat.room) else { return };
    let before = room.members.len();
    room.members.retain(|(id, _)| *id != seat.id);
    if room.members.len() < before {
        let stamp = Stamp { reason: Some(reason), ..room.stamp() };
        let told = RoomTold { new_leave_member: Some(&seat.member), ..room.told() };
        room.publish(text("Leave successfully", 2, told, stamp));
    }
}

/// One connection, from its upgrade to its end.
async fn serve(mut socket: WebSocket, rooms: Rooms) {
    let mut seat: Option<Seat> = None;
    let _ended = talk(&mut socket, &rooms, &mut seat).await;
    if let Some(seat) = &seat {
        leave(&mut rooms.lock().unwrap_or_else(PoisonError::into_inner), seat, "closed");
    }
}

async fn talk(socket: &mut WebSocket, rooms: &Rooms, seat: &mut Option<Seat>) -> Result<(), axum::Error> {
    loop {
        let frames = async {
            match seat {
                Some(seat) => seat.frames.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => match request(rooms, seat, &text) {
                    Own::Nothing => {}
                    Own::Reply(reply) => socket.send(Message::Text(reply)).await?,
                    Own::Left => {
                        // The leaver hears of it too, behind all that was said before.
                        while let Some(Ok(frame)) = seat.as_mut().map(|seat| seat.frames.try_recv()) {
                            socket.feed(Message::Text(frame)).await?;
                        }
                        socket.flush().await?;
                        *seat = None;
                    }
                },
                Some(Ok(Message::Close(_))) => {
                    // The library has its answer ready; reading on sends it, and brings the end.
                    while socket.recv().await.is_some() {}
                    return Ok(());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            frame = frames => {
                let mut next = match frame {
                    Ok(frame) => Some(frame),
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return Ok(()),
                };
                let mut together = 0;
                while let Some(frame) = next {
                    socket.feed(Message::Text(frame)).await?;
                    together += 1;
                    next = match seat.as_mut().map(|seat| seat.frames.try_recv()) {
                        Some(Ok(frame)) if together < FRAMES_TOGETHER => Some(frame),
                        Some(Ok(frame)) => {
                            socket.flush().await?;
                            together = 0;
                            Some(frame)
                        }
                        Some(Err(TryRecvError::Lagged(_))) => return Ok(()),
                        _ => None,
                    };
                }
                socket.flush().await?;
            }
        }
    }
}

async fn upgrade(upgrade: WebSocketUpgrade, State(rooms): State<Rooms>) -> Response {
    upgrade
        .max_message_size(MESSAGE_BYTES)
        .max_frame_size(MESSAGE_BYTES)
        .read_buffer_size(4096)
        .on_upgrade(|socket| serve(socket, rooms))
}

/// One core, one thread, as the others have.
#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let app = Router::new().route("/ws", any(upgrade)).route("/", any(upgrade)).with_state(Rooms::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|socket| {
        // It may be gone already.
        let _gone = socket.set_nodelay(true);
    });
    axum::serve(listener, app).await
}
