mod outage;
mod rude_clients;
