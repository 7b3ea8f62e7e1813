//! How often a socket was written to at its other end.
//!
//! Owns: one question to the kernel (`TCP_INFO`), which it answers for every server alike. Refuses to know: what came.

use std::os::fd::AsFd;

use nix::libc;
use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};

sockopt_impl!(
    /// What the kernel knows of a connection.
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    libc::tcp_info
);

/// Segments with data that came to this socket; `None` where the kernel does not say.
pub fn received(socket: &impl AsFd) -> Option<u64> {
    getsockopt(socket, TcpInfo).ok().map(|info| info.tcpi_data_segs_in.into())
}
