//! An answer over HTTP, as bytes (RFC 9112, section 4).
//!
//! Owns: what every answer has, and what goes with each part of the page. Refuses to know: what was asked for, and which answer is right (`http`).

use std::borrow::Cow;

use super::refusals::Refusal;
use crate::page;

/// A response, which is the connection's last.
pub(super) struct Response {
    head: String,
    body: Cow<'static, [u8]>,
    /// Why, where somebody should hear of it.
    refusal: Option<Box<Refusal>>,
}

impl Response {
    pub fn new(status: &str, content_type: &str, body: impl Into<Cow<'static, [u8]>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        let response = Response { body, ..Response::empty(status) };
        response.header("Content-Type", content_type).header("Content-Length", &length)
    }

    pub fn text(status: &str, text: impl Into<Cow<'static, str>>) -> Self {
        let body = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Response::new(status, "text/plain; charset=utf-8", body)
    }

    /// No HTTP, or none that makes sense; with what is wrong.
    pub fn bad(text: impl Into<Cow<'static, str>>) -> Self {
        Response::text("400 Bad Request", text)
    }

    /// The client has it (RFC 9110, section 15.4.5): there is no body, and nothing that describes one.
    pub fn not_modified() -> Self {
        Response::empty("304 Not Modified")
    }

    fn empty(status: &str) -> Self {
        let head = format!("HTTP/1.1 {status}\r\nX-Content-Type-Options: nosniff\r\n");
        Response { head, body: Cow::Borrowed(b""), refusal: None }
    }

    /// What goes with each part of the page: what it may load, that it tells no other site where it is, and that whoever keeps it asks before
    /// using it again.
    pub fn of_page(self) -> Self {
        self.header("Content-Security-Policy", page::CONTENT_SECURITY_POLICY)
            .header("Referrer-Policy", "no-referrer")
            .header("Cache-Control", "no-cache")
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(name);
        self.head.push_str(": ");
        self.head.push_str(value);
        self.head.push_str("\r\n");
        self
    }

    pub fn refused_as(self, refusal: Refusal) -> Self {
        Response { refusal: Some(refusal.into()), ..self }
    }

    /// Who was refused, where somebody should hear of it; once.
    pub fn take_refusal(&mut self) -> Option<Box<Refusal>> {
        self.refusal.take()
    }

    pub fn without_body(self) -> Self {
        Response { body: Cow::Borrowed(b""), ..self }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        // Upgrade is named in Connection wherever it is sent (RFC 9110, section 7.8).
        let connection = if self.head.contains("\r\nUpgrade: ") { "Upgrade, close" } else { "close" };
        let Response { head, body, .. } = self.header("Connection", connection);
        [head.as_bytes(), b"\r\n", &body].concat()
    }
}
