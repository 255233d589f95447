//! Where the gateway is. What could be read or changed on the way there is refused, unless somebody says that it may.

use anyhow::{Context, Result, bail};
use url::{Host, Url};

/// The gateway's address as `GATEWAY_URL` has it, without what is no part of one.
pub(crate) fn parse(url: &str, plain_http: bool) -> Result<Url> {
    // Without the user and the password that may stand before the host.
    let shown = url.rsplit('@').next().unwrap_or_default();
    let wrong = || format!("GATEWAY_URL={shown} is no URL such as http://127.0.0.1:9090");
    let is_http = |url: &Url| matches!(url.scheme(), "http" | "https");
    let mut parsed = Url::parse(url).ok().filter(is_http).with_context(wrong)?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        bail!(
            "GATEWAY_URL must hold no user and no password: GATEWAY_TOKEN_FILE or GATEWAY_TOKEN say who we are"
        );
    }
    parsed.set_query(None);
    parsed.set_fragment(None);
    if parsed.scheme() == "http" && !plain_http && !is_here(&parsed) {
        bail!(
            "GATEWAY_URL={parsed} would send payments in the clear to another machine: use https, or set GATEWAY_PLAIN_HTTP=true"
        );
    }
    Ok(parsed)
}

/// On this machine nobody stands in between.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(addr)) => addr.is_loopback(),
        Some(Host::Ipv6(addr)) => addr.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_to_another_machine_is_only_spoken_if_somebody_says_so() {
        let here = [
            "http://127.0.0.1:9090",
            "http://127.3.2.1",
            "http://[::1]:9090/a",
            "http://localhost",
            "https://pay.example",
        ];
        for url in here {
            assert!(parse(url, false).is_ok(), "{url}");
        }
        for url in [
            "http://gateway-mock:9090",
            "http://10.0.0.1",
            "http://localhost.example",
            "http://0.0.0.0",
            "http://[::2]",
        ] {
            let error = parse(url, false).unwrap_err().to_string();
            assert!(error.contains("GATEWAY_PLAIN_HTTP=true") && !error.contains('\n'), "{error}");
            assert!(parse(url, true).is_ok(), "{url}");
        }
    }
}
