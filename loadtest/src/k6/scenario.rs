//! The scripts, and what each is for.

use clap::ValueEnum;

/// A script of `loadtest/*.js`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Does it work at all?
    Smoke,
    /// 500 orders a minute
    Load,
    /// The same for an hour
    Soak,
    /// Ever more until something is full
    Stress,
    /// A hundred times the usual from one moment to the next
    Spike,
    /// The payment gateway is gone for a while
    GatewayOutage,
    /// RabbitMQ is killed; starts everything by itself
    BrokerOutage,
    /// A ramp to 600 a second while the gateway goes through ten states
    UnsteadyGateway,
}

impl Scenario {
    /// What runs where nothing else is asked for: some five minutes.
    pub(crate) const SHORT: [Self; 6] =
        [Self::Smoke, Self::Load, Self::Spike, Self::GatewayOutage, Self::BrokerOutage, Self::Stress];

    /// As its file is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Load => "load",
            Self::Soak => "soak",
            Self::Stress => "stress",
            Self::Spike => "spike",
            Self::GatewayOutage => "gateway-outage",
            Self::BrokerOutage => "broker-outage",
            Self::UnsteadyGateway => "unsteady-gateway",
        }
    }

    /// In a sentence.
    pub(crate) const fn says(self) -> &'static str {
        match self {
            Self::Smoke => "a few orders followed to their end, wrong input and repeated keys in between",
            Self::Load => "500 orders a minute, the rate that was asked for",
            Self::Soak => "500 orders a minute for long: what leaks or grows would show",
            Self::Stress => {
                "ever more orders until something is full; k6 shares the processors with what it tests"
            }
            Self::Spike => "10 orders a second, 800 from one moment to the next, 10 again",
            Self::GatewayOutage => "50 orders a second while the payment gateway is gone for 20 s",
            Self::BrokerOutage => "50 orders a second while RabbitMQ is killed and comes back",
            Self::UnsteadyGateway => {
                "a ramp to 600 orders a second in two minutes, while the gateway goes through ten states: \
                 milliseconds a charge, failing where every answer is 500"
            }
        }
    }

    /// Whether it does to servers what nobody would want done to theirs.
    pub(crate) const fn needs_own_servers(self) -> bool {
        matches!(self, Self::BrokerOutage)
    }
}
