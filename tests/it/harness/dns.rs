//! A name server of a test's own, on a port of the loopback: it says what it is told to, at once, and can fail.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::CNAME},
};

/// The server. It ends with the value.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Default)]
struct Zone {
    /// By host and family; a family of a host that is told of the other is empty.
    says: HashMap<(String, RecordType), Says>,
    aliases: HashMap<String, (String, u32)>,
    asked: Vec<String>,
}

#[derive(Clone)]
enum Says {
    Addresses(Vec<IpAddr>, u32),
    /// The server says that it cannot say.
    Fails,
    /// Nothing comes.
    Silence,
}

impl Dns {
    /// A server that knows no name.
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone::default()));
        let weak = Arc::downgrade(&zone);
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        thread::spawn(move || serve(&socket, &weak));
        Self { address, zone }
    }

    /// From now on the host has these addresses, and no others.
    pub(crate) fn says(&self, host: &str, addresses: &[&str], ttl: u32) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        for family in FAMILIES {
            let of_family = addresses.iter().filter(|a| family == family_of(**a));
            let says = Says::Addresses(of_family.copied().collect(), ttl);
            self.set(host, family, says);
        }
    }

    /// From now on there is no such host.
    pub(crate) fn forgets(&self, host: &str) {
        let mut zone = self.zone.lock().unwrap();
        zone.says.retain(|(name, _), _| name != host);
        zone.aliases.remove(host);
    }

    /// From now on it is another name for one that is known.
    pub(crate) fn alias(&self, host: &str, target: &str, ttl: u32) {
        let alias = (target.to_owned(), ttl);
        let mut zone = self.zone.lock().unwrap();
        zone.aliases.insert(host.to_owned(), alias);
    }

    /// From now on questions for this family of the host are answered by SERVFAIL.
    pub(crate) fn fails(&self, host: &str, family: RecordType) {
        self.set(host, family, Says::Fails);
    }

    /// From now on questions for the host are not answered.
    pub(crate) fn is_silent(&self, host: &str) {
        for family in FAMILIES {
            self.set(host, family, Says::Silence);
        }
    }

    /// Every name that was asked for, in order, with its last dot.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.zone.lock().unwrap().asked.clone()
    }

    fn set(&self, host: &str, family: RecordType, says: Says) {
        let mut zone = self.zone.lock().unwrap();
        zone.says.insert((host.to_owned(), family), says);
    }
}

fn serve(socket: &UdpSocket, zone: &Weak<Mutex<Zone>>) {
    let mut buffer = [0; 4096];
    loop {
        let received = socket.recv_from(&mut buffer);
        let Some(zone) = zone.upgrade() else {
            return;
        };
        let Ok((length, client)) = received else {
            continue;
        };
        let Ok(question) = Message::from_vec(&buffer[..length]) else {
            continue;
        };
        let mut zone = zone.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = zone.answer(&question) {
            socket.send_to(&answer.to_vec().unwrap(), client).ok();
        }
    }
}

impl Zone {
    fn answer(&mut self, question: &Message) -> Option<Message> {
        let query = question.queries.first()?.clone();
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.metadata.message_type = MessageType::Response;
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        let asked = query.name().to_ascii();
        self.asked.push(asked.clone());
        let mut name = asked.trim_end_matches('.').to_owned();
        if let Some((target, ttl)) = self.aliases.get(&name) {
            let data = RData::CNAME(CNAME(absolute(target)));
            answer.add_answer(Record::from_rdata(absolute(&name), *ttl, data));
            name.clone_from(target);
        }
        match self.says.get(&(name.clone(), query.query_type())) {
            None => answer.metadata.response_code = ResponseCode::NXDomain,
            Some(Says::Fails) => answer.metadata.response_code = ResponseCode::ServFail,
            Some(Says::Silence) => return None,
            Some(Says::Addresses(addresses, ttl)) => {
                for address in addresses {
                    let record = Record::from_rdata(absolute(&name), *ttl, RData::from(*address));
                    answer.add_answer(record);
                }
            }
        }
        Some(answer)
    }
}

fn absolute(host: &str) -> Name {
    Name::from_ascii(format!("{host}.")).unwrap()
}

const fn family_of(address: IpAddr) -> RecordType {
    match address {
        IpAddr::V4(_) => RecordType::A,
        IpAddr::V6(_) => RecordType::AAAA,
    }
}

const FAMILIES: [RecordType; 2] = [RecordType::A, RecordType::AAAA];
