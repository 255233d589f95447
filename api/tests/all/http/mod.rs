mod answers;
mod outage;
mod readiness;
mod replica;
mod rude_clients;
