#![allow(warnings, clippy::all)]
use doorward::{net::*, policy::Denial, protocol::mysql::*, wire::mysql::Edit};
use std::{future::pending, sync::Arc, time::Duration};
use tokio::{net::*, time::*};
// args: listen upstream [strict] [tls] [nofloor]
#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let flag = |f: &str| args.iter().any(|a| a == f);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let tls = Arc::new(
        tokio_rustls::rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap(),
    );
    let own = Arc::new(OwnKey::default());
    let abandons = Arc::new(Abandons::default());
    let l = TcpListener::bind(&args[1]).await.unwrap();
    let (strict, up_tls, floor) = (flag("strict"), flag("tls"), !flag("nofloor"));
    loop {
        let (s, peer) = l.accept().await.unwrap();
        let (tls, own, abandons, up) =
            (tls.clone(), own.clone(), abandons.clone(), args[2].clone());
        tokio::spawn(async move {
            let stream = if up.starts_with('/') {
                Stream::Unix(UnixStream::connect(&up).await.unwrap())
            } else {
                let s = TcpStream::connect(&up).await.unwrap();
                s.set_nodelay(true);
                Stream::Tcp(s)
            };
            let mut un = Unfinished::new(stream, false, abandons);
            let greeting = match un.hear().await {
                Ok(g) => g.clone(),
                Err(HearError::Refused { payload, errno }) => {
                    eprintln!("refused {errno}");
                    return refuse(Stream::Tcp(s), &passed_on(&payload)).await;
                }
                Err(e) => {
                    eprintln!("hear {e}");
                    return;
                }
            };
            let shown = if strict {
                greeting_like(&greeting)
            } else {
                greeting
            };
            let g = Greeting {
                server: &shown,
                compression: false,
                tls,
                first_byte: Instant::now() + Duration::from_secs(5),
            };
            let greeted = match timeout(Duration::from_secs(8), greet(s, g)).await {
                Ok(Ok(g)) => g,
                Ok(Err(GreetError::Malformed {
                    client,
                    sequence,
                    error,
                })) => {
                    eprintln!("malformed {error}");
                    refuse(client, &malformed(error, sequence)).await;
                    eprintln!("{:?}", un.abandon().await);
                    return;
                }
                Ok(Err(e)) => {
                    eprintln!("greet: {e}; {:?}", un.abandon().await);
                    return;
                }
                Err(_) => {
                    eprintln!("late {:?}", un.abandon().await);
                    return;
                }
            };
            let Greeted {
                mut client,
                tls,
                mut opening,
                turns,
                ..
            } = greeted;
            eprintln!("{:?} tls {:?} turns {}", opening.response, tls, turns);
            if opening.response.user().starts_with("denied") {
                eprintln!("denied {:?}", un.abandon().await);
                let w = doorward::protocol::Words {
                    message: "doorward: refused, ref XX".into(),
                    hint: Some("Do this."),
                };
                refuse(
                    client,
                    &refusal(&opening, doorward::policy::Reason::UserNotAllowed, &w).unwrap(),
                )
                .await;
                return;
            }
            let utls = if up_tls {
                Some(UpstreamTls::for_a_look().unwrap())
            } else {
                None
            };
            let attributes = [
                ("_doorward_client", "192.0.2.1"),
                ("_doorward_origin", "web"),
            ];
            let terms = Terms {
                authentication: floor,
                edit: Edit {
                    attributes: &attributes,
                    ..Edit::default()
                },
                own_key: Some(&own),
                interrupted: pending::<Denial>(),
            };
            match login(&mut client, &mut un, &mut opening, utls.as_ref(), terms).await {
                Ok(l) => {
                    eprintln!("{l:?}");
                    let mut u = un.into_stream().unwrap();
                    let r = tokio::io::copy_bidirectional(&mut client, &mut u).await;
                    eprintln!("end {r:?}");
                }
                Err(e) => {
                    eprintln!(
                        "login: {e} at {}; {:?}",
                        opening.sequence(),
                        un.abandon().await
                    );
                }
            }
        });
    }
}
