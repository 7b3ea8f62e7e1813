//! Who may ask for what over HTTP.
//!
//! Owns: whom a browser may ask for (Host), from where its page may open a WebSocket (Origin), who may see the metrics, and the words for whoever may
//! not: with the line of the configuration that would let it. Refuses to know: how a request is written, routes, and what is answered otherwise (`http`).

use std::net::IpAddr;

use super::refusals::Refusal;
use super::response::Response;
use super::target;
use crate::host::metrics::Access;

/// A browser says whom it asks for, on every path: it must be an address or a name of the hub's own. Who asks for nobody is no browser.
pub(super) fn check_host(host: &str, origin: Option<&str>, names: &[String]) -> Result<(), Response> {
    if !host.is_empty() && !target::is_authority(host) {
        return Err(Response::bad("The request's Host is no name or address.\n"));
    }
    if target::is_own(host, names) {
        return Ok(());
    }
    let name = target::host_of(host).to_owned();
    let refusal = Refusal::Host { name: name.clone(), origin: origin.map(str::to_owned) };
    let line = refusal.remedy(names).unwrap_or_default();
    let text = format!(
        "本机不认这个名称：{name}\nThis hub does not answer to the name {name}. Open it by its address, or have this written into its \
         configuration: {line}\n"
    );
    Err(Response::text("403 Forbidden", text).refused_as(refusal))
}

/// Whoever may not see the metrics is told what would have to be written for it. An IPv4 address is the same however it is written.
pub(super) fn check_metrics(access: Access, address: IpAddr) -> Result<(), Response> {
    match access {
        Access::Any => Ok(()),
        Access::Loopback if address.to_canonical().is_loopback() => Ok(()),
        Access::Loopback => Err(Response::text(
            "403 Forbidden",
            "运行数据只给本机看。\nThe metrics are shown on the machine that the hub runs on, and nowhere else. For everybody to see them, have \
             this written into its configuration: http.metrics = \"any\"\n",
        )),
        Access::Off => Err(Response::text(
            "404 Not Found",
            "这里不提供运行数据。\nThis hub shows no metrics. For the machine that it runs on to see them, have this written into its \
             configuration: http.metrics = \"loopback\"\n",
        )),
    }
}

/// A browser says where its page is from; it must be from here, or from where the operator allows. Native clients say nothing.
pub(super) fn check_origin<'a>(
    origins: impl Iterator<Item = &'a str>,
    host: &str,
    allowed_origins: &[String],
) -> Result<(), Response> {
    for origin in origins {
        let own = parts_of(origin).is_some_and(|(scheme, authority)| {
            with_port(authority, scheme).eq_ignore_ascii_case(&with_port(host, scheme))
        });
        let listed = || allowed_origins.iter().any(|allowed| same_origin(allowed, origin));
        if !own && !listed() {
            let text = "A page from another site may not connect here. 不允许其他网站的页面连接。\n";
            let refusal = Refusal::Origin { origin: origin.to_owned(), host: host.to_owned() };
            return Err(Response::text("403 Forbidden", text).refused_as(refusal));
        }
    }
    Ok(())
}

fn parts_of(origin: &str) -> Option<(&str, &str)> {
    let (scheme, authority) = origin.split_once("://")?;
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    known.then_some((scheme, authority))
}

fn same_origin(one: &str, other: &str) -> bool {
    match (parts_of(one), parts_of(other)) {
        (Some((scheme, authority)), Some((other_scheme, other_authority))) => {
            scheme.eq_ignore_ascii_case(other_scheme)
                && with_port(authority, scheme).eq_ignore_ascii_case(&with_port(other_authority, scheme))
        }
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// Host and port, the scheme's own port filled in. A browser leaves it out of both Origin and Host.
fn with_port(authority: &str, scheme: &str) -> String {
    let after_host = authority.rfind(']').map_or(0, |at| at + 1);
    if authority[after_host..].contains(':') {
        return authority.to_owned();
    }
    let port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
    format!("{authority}:{port}")
}
