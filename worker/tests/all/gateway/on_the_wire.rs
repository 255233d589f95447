//! How a request goes out, and what a gateway that misbehaves on the wire amounts to. The gateways here are bare sockets: an HTTP
//! server would be too polite. Nothing else is needed, no database either.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domain::money::{Currency, Money};
use domain::origin::{Origin, RequestId};
use domain::payment::AttemptAction;
use domain::trace_parent::TraceParent;
use store::claim::Claimed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;
use worker::gateway::{Answer, Asked, Gateway};

/// Longer than any answer here takes.
const PATIENT: Duration = Duration::from_secs(10);
/// For those that never come.
const IMPATIENT: Duration = Duration::from_millis(200);

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn claim(action: AttemptAction) -> Claimed {
    Claimed {
        payment_id: Uuid::from_u128(1),
        order_id: Uuid::from_u128(2),
        refund_of: (action == AttemptAction::Refund).then(|| Uuid::from_u128(3)),
        amount: Money::from_minor(3_097, Currency::USD),
        epoch: 1,
        number: 1,
        action,
        spent: 0,
        queued: true,
        origin: None,
        names: None,
    }
}

fn charge() -> Claimed {
    claim(AttemptAction::Charge)
}

/// A socket to be a gateway on, and its address.
async fn gateway() -> Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?.to_string();
    Ok((listener, addr))
}

async fn accept(listener: &TcpListener) -> Result<TcpStream> {
    Ok(tokio::time::timeout(PATIENT, listener.accept()).await??.0)
}

/// One whole request: its head's lines, the headers sorted, and its body.
async fn request(io: &mut TcpStream) -> Result<(Vec<String>, String)> {
    let mut text = String::new();
    let head = loop {
        if let Some(end) = text.find("\r\n\r\n") {
            break end;
        }
        more(io, &mut text).await?;
    };
    let mut lines: Vec<String> = text[..head].lines().map(str::to_owned).collect();
    lines[1..].sort();
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let whole = head + 4 + length.parse::<usize>()?;
    while text.len() < whole {
        more(io, &mut text).await?;
    }
    assert_eq!(text.len(), whole, "nothing follows a request that was not answered");
    Ok((lines, text.split_off(head + 4)))
}

async fn more(io: &mut TcpStream, text: &mut String) -> Result<()> {
    let mut bytes = [0; 4_096];
    let read = io.read(&mut bytes).await?;
    anyhow::ensure!(read > 0, "closed after {text:?}");
    text.push_str(std::str::from_utf8(&bytes[..read])?);
    Ok(())
}

fn receipt() -> String {
    let (key, reference) = (charge().payment_id, charge().order_id);
    let body =
        format!(r#"{{"id":"ch_1","key":"{key}","reference":"{reference}","amount":30.97,"currency":"USD"}}"#);
    format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn done() -> Asked {
    Ok(Answer::Done { gateway_id: "ch_1".into() })
}

fn doubt(asked: Asked) -> String {
    match asked {
        Ok(Answer::InDoubt(reason)) | Err(Answer::InDoubt(reason)) => reason.code,
        other => panic!("{other:?} is no doubt"),
    }
}

/// What a charge comes to that is answered with these bytes on a connection that then breaks, or stays as it is.
async fn answered(bytes: impl AsRef<[u8]>, breaks: bool, patience: Duration) -> Result<Asked> {
    let (listener, addr) = gateway().await?;
    let client = Gateway::new(&format!("http://{addr}"), patience)?;
    let answer = async {
        let mut io = accept(&listener).await?;
        request(&mut io).await?;
        // A client that has read enough closes before all is written.
        let _ = io.write_all(bytes.as_ref()).await;
        anyhow::Ok((!breaks).then_some(io))
    };
    let claim = charge();
    let (asked, held) = tokio::join!(client.ask(&claim), answer);
    held?;
    Ok(asked)
}

#[tokio::test]
async fn a_request_says_what_it_should_below_whatever_path_the_url_has() -> Result<()> {
    let (listener, addr) = gateway().await?;
    let mut refund = claim(AttemptAction::Refund);
    let (trace, id) = (TraceParent::parse(TRACE), RequestId::parse("mine"));
    refund.origin = Origin::new(trace, id);
    let (one, two, three) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
    let json = "content-type: application/json";
    let charge_body = format!(r#"{{"reference":"{two}","amount":30.97,"currency":"USD"}}"#);
    let refund_body =
        format!(r#"{{"charge_key":"{three}","reference":"{two}","amount":30.97,"currency":"USD"}}"#);
    for (url, claim, path, id, others, body) in [
        (
            format!("http://{addr}"),
            charge(),
            "/v1/charges".to_owned(),
            two.to_string(),
            vec![json],
            charge_body,
        ),
        (
            format!("http://{addr}/pay/?query#part"),
            refund,
            "/pay/v1/refunds".to_owned(),
            "mine".to_owned(),
            vec![json],
            refund_body,
        ),
        (
            format!("http://{addr}/a//b"),
            claim(AttemptAction::Void),
            format!("/a//b/v1/charges/by-key/{one}/void"),
            two.to_string(),
            vec![],
            String::new(),
        ),
    ] {
        let client = Gateway::new(&url, PATIENT)?;
        let sent = async {
            let mut io = accept(&listener).await?;
            let sent = request(&mut io).await?;
            io.write_all(b"HTTP/1.1 418 I'm a teapot\r\ncontent-length: 0\r\n\r\n").await?;
            anyhow::Ok(sent)
        };
        let (asked, sent) = tokio::join!(client.ask(&claim), sent);
        let sent = sent?;
        assert_eq!(doubt(asked), "http_418");
        let mut expected = vec![
            "accept: */*".to_owned(),
            format!("host: {addr}"),
            format!("idempotency-key: {one}"),
            format!("x-request-id: {id}"),
        ];
        expected.push(format!("content-length: {}", body.len()));
        expected.extend(others.into_iter().map(str::to_owned));
        expected.extend(claim.origin.is_some().then(|| format!("traceparent: {TRACE}")));
        expected.sort();
        expected.insert(0, format!("POST {path} HTTP/1.1"));
        assert_eq!(sent, (expected, body), "{url}");
    }
    Ok(())
}

#[tokio::test]
async fn the_time_limit_bounds_the_whole_answer() -> Result<()> {
    let begun = Instant::now();
    let half = receipt().split_at(receipt().len() - 10).0.to_owned();
    for bytes in ["", "HTTP/1.1 201 Cr", &half] {
        assert_eq!(doubt(answered(bytes, false, IMPATIENT).await?), "timeout", "{bytes:?}");
    }
    // A byte from time to time does not prolong it.
    let (listener, addr) = gateway().await?;
    let client = Gateway::new(&format!("http://{addr}"), IMPATIENT)?;
    let drip = async {
        let mut io = accept(&listener).await?;
        request(&mut io).await?;
        io.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 1000\r\n\r\n").await?;
        while io.write_all(b" ").await.is_ok() {
            tokio::time::sleep(IMPATIENT / 10).await;
        }
        anyhow::Ok(())
    };
    let claim = charge();
    let (asked, dripped) = tokio::join!(client.ask(&claim), drip);
    dripped?;
    assert_eq!(doubt(asked), "timeout");
    assert!(begun.elapsed() < PATIENT / 2);
    Ok(())
}

#[tokio::test]
async fn an_answer_that_breaks_off_leaves_doubt() -> Result<()> {
    for length in [0, 1, 20, receipt().len() - 1] {
        let asked = answered(&receipt()[..length], true, PATIENT).await?;
        assert_eq!(doubt(asked), "no_answer", "after {length} bytes");
    }
    assert_eq!(doubt(answered("SSH-2.0-OpenSSH\r\n\r\n", false, PATIENT).await?), "no_answer");
    assert_eq!(answered(receipt(), true, PATIENT).await?, done());
    Ok(())
}

#[tokio::test]
async fn a_redirect_is_not_followed() -> Result<()> {
    let (elsewhere, addr) = gateway().await?;
    for status in [301, 302, 303, 307, 308] {
        let answer = format!("HTTP/1.1 {status} \r\nlocation: http://{addr}/\r\ncontent-length: 0\r\n\r\n");
        match answered(answer, false, PATIENT).await? {
            Err(Answer::Misconfigured { reason, stops_charges: true }) => {
                assert_eq!(reason.code, format!("http_{status}"))
            }
            other => panic!("{status} is {other:?}"),
        }
    }
    assert!(tokio::time::timeout(IMPATIENT, elsewhere.accept()).await.is_err(), "somebody came");
    Ok(())
}

#[tokio::test]
async fn a_connection_closed_while_it_rested_is_replaced() -> Result<()> {
    let (listener, addr) = gateway().await?;
    let client = Gateway::new(&format!("http://{addr}"), PATIENT)?;
    for _ in 0..3 {
        let answer = async {
            let mut io = accept(&listener).await?;
            request(&mut io).await?;
            io.write_all(receipt().as_bytes()).await?;
            io.shutdown().await?;
            assert_eq!(io.read(&mut [0]).await?, 0, "the client closes it, too");
            anyhow::Ok(())
        };
        let claim = charge();
        let (asked, answer) = tokio::join!(client.ask(&claim), answer);
        answer?;
        assert_eq!(asked, done());
    }
    Ok(())
}

#[tokio::test]
async fn a_request_that_was_written_is_never_written_again() -> Result<()> {
    let (listener, addr) = gateway().await?;
    let client = Gateway::new(&format!("http://{addr}"), PATIENT)?;
    let mut io = None;
    for _ in 0..2 {
        let answer = async {
            let mut kept = match io.take() {
                Some(io) => io,
                None => accept(&listener).await?,
            };
            request(&mut kept).await?;
            kept.write_all(receipt().as_bytes()).await?;
            anyhow::Ok(kept)
        };
        let claim = charge();
        let (asked, kept) = tokio::join!(client.ask(&claim), answer);
        io = Some(kept?);
        assert_eq!(asked, done(), "over one connection");
    }
    let mut io = io.context("a connection")?;
    let cut = async {
        request(&mut io).await?;
        drop(io);
        anyhow::Ok(tokio::time::timeout(IMPATIENT, listener.accept()).await.is_err())
    };
    let claim = charge();
    let (asked, alone) = tokio::join!(client.ask(&claim), cut);
    assert_eq!(doubt(asked), "no_answer");
    assert!(alone?, "it came again over another connection");
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_talks_without_end_is_cut_short() -> Result<()> {
    let (listener, addr) = gateway().await?;
    for head in ["content-length: 1000000000000", "transfer-encoding: chunked"] {
        let client = Gateway::new(&format!("http://{addr}"), PATIENT)?;
        let talk = async {
            let mut io = accept(&listener).await?;
            request(&mut io).await?;
            io.write_all(format!("HTTP/1.1 201 Created\r\n{head}\r\n\r\n").as_bytes()).await?;
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            let mut said = 0;
            while io.write_all(chunk.as_bytes()).await.is_ok() {
                said += chunk.len();
                // What was read, and what the kernel had already taken.
                assert!(said < 20 << 20, "it listens for ever");
            }
            anyhow::Ok(())
        };
        let claim = charge();
        let (asked, talked) = tokio::join!(client.ask(&claim), talk);
        talked?;
        assert_eq!(doubt(asked), "malformed_reply", "{head}");
    }
    Ok(())
}

#[tokio::test]
async fn the_longest_answer_that_is_read_has_64_kib_and_its_head_is_bounded_too() -> Result<()> {
    let (head, body) =
        receipt().split_once("\r\n\r\n").map(|(_, body)| ("HTTP/1.1 201 Created", body.to_owned())).unwrap();
    let padded = |length: usize| format!("{body}{}", " ".repeat(length - body.len()));
    let with_body = |body: &str| format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    assert_eq!(answered(with_body(&padded(64 << 10)), false, PATIENT).await?, done());
    assert_eq!(doubt(answered(with_body(&padded((64 << 10) + 1)), false, PATIENT).await?), "malformed_reply");
    let with_head = |length: usize| {
        let filling = "x".repeat(length);
        format!("{head}\r\nx-filling: {filling}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    assert_eq!(answered(with_head(16 << 10), false, PATIENT).await?, done());
    assert_eq!(doubt(answered(with_head(256 << 10), true, PATIENT).await?), "no_answer");
    let many = "x-one: 1\r\n".repeat(80);
    let many = format!("{head}\r\n{many}content-length: {}\r\n\r\n{body}", body.len());
    assert_eq!(doubt(answered(many, false, PATIENT).await?), "no_answer");
    Ok(())
}

#[test]
fn a_secret_in_the_url_is_refused_and_shown_nowhere() -> Result<()> {
    for wrong in [
        "http://me:secret@127.0.0.1:1/",
        "https://secret@pay.example",
        "http://me:secret@",
        "me:secret@there",
        "ftp://me:secret@there",
        "http://me:se@secret@:x",
    ] {
        let error = format!("{:#}", Gateway::new(wrong, PATIENT).unwrap_err());
        assert!(error.starts_with("GATEWAY_URL") && !error.contains("secret"), "{error}");
    }
    Ok(())
}
