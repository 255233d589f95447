//! What a broker that is there has against us, in words that say what to do.

use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::{Error, ErrorKind};
use rustls::{CertificateError, Error as TlsError};

use super::address::Address;
use crate::Refused;

/// Of a connection: who we are, what the virtual host is called, whom we trust.
pub(super) fn of_connection(error: Error, address: &Address) -> anyhow::Error {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => Refused(refusal.to_string()).into(),
        ErrorKind::IOError(io) => match io.get_ref().and_then(|cause| cause.downcast_ref()) {
            Some(tls) => Refused(of_tls(tls, address)).into(),
            None => error.into(),
        },
        _ => error.into(),
    }
}

fn of_tls(error: &TlsError, address: &Address) -> String {
    match error {
        // The second: of one that only has the name of one that is trusted.
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "its certificate is of no authority that is trusted here (?cacertfile= in AMQP_URL names others)"
                .to_owned()
        }
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("its certificate is not for {}", address.host()),
        TlsError::InvalidMessage(_) => "it speaks no TLS on this port".to_owned(),
        other => other.to_string(),
    }
}

/// Of a queue's declaration.
pub(super) fn of_queue(error: Error, queue: &str, address: &Address) -> anyhow::Error {
    match error.kind() {
        ErrorKind::ProtocolError(refusal)
            if *refusal.kind() == AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) =>
        {
            Refused(format!(
                "the queue {queue} exists with other arguments than ours ({}). Delete it: rabbitmqctl -p {} delete_queue \
                 {queue}. It is made anew at once, and the sweep carries what it held; for narrower bounds set a policy",
                refusal.get_message(),
                address.vhost(),
            ))
            .into()
        }
        _ => of_connection(error, address),
    }
}
