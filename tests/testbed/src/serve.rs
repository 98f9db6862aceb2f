//! A listening socket that can be taken away and given back while its port stays the same.
//!
//! The simulator and the fault proxy both need what an ordinary HTTP server never offers: to refuse connections
//! for a while, to swallow them without a word, and to break one connection in the middle of an answer. So this is
//! bare hyper rather than a framework: every part of it was in the dependency tree already (reqwest and kube bring
//! it), and the connection is ours to cut.
//!
//! The server lives on a thread of its own with its own runtime, so tests without a runtime can use it, tests that
//! block their runtime do not stop it, and dropping the handle ends it with everything it served.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::thread::{self, JoinHandle};

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{self, Handle};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The state of an address, as a client meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Connections are accepted and served.
    Up,
    /// Connections are refused, as when no process listens. The port stays reserved.
    Refusing,
    /// Connections are accepted and nothing is ever read or answered, not on those already open either.
    BlackHole,
}

/// The connection a request came in on.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Counts the connections of one listener, so that reuse can be told from reconnecting.
    pub(crate) serial: u64,
    cut: Arc<Notify>,
}

/// A thread with a runtime on it, ended and joined on drop.
#[derive(Debug)]
pub(crate) struct Background {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One address being served.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
    opened: Arc<AtomicU64>,
}

type Order = (Reach, std::sync::mpsc::Sender<io::Result<()>>);

// === impl Connection ===

impl Connection {
    /// Breaks the connection at once, whatever else is going on over it.
    pub(crate) async fn cut<T>(&self) -> T {
        self.cut.notify_one();
        pending().await
    }
}

// === impl Background ===

impl Background {
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            // An error here is the sender's drop, which asks for the same.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // A panic over there has been printed already, and must not become a second one here.
            let _ = thread.join();
        }
    }
}

// === impl Listener ===

impl Listener {
    /// Binds `address` and serves it on `runtime`; with `tls`, HTTP/2 is spoken to those who negotiate it.
    pub(crate) fn start<S, F>(
        runtime: &Handle,
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        service: S,
    ) -> io::Result<Self>
    where
        S: Fn(hyper::Request<Incoming>, Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = hyper::Response<Body>> + Send + 'static,
    {
        let _context = runtime.enter();
        // Bound for good and never listening: it keeps the port ours while no listener is there.
        let reservation = bind(address)?;
        let address = reservation.local_addr()?;
        let listener = bind(address)?.listen(BACKLOG)?;
        let (orders, received) = mpsc::unbounded_channel();
        let opened = Arc::new(AtomicU64::new(0));
        let server = Server {
            address,
            tls: tls.map(TlsAcceptor::from),
            service,
            reach: Reach::Up,
            muted: Arc::default(),
            opened: opened.clone(),
            connections: JoinSet::new(),
        };
        runtime.spawn(async move {
            let _reservation = reservation;
            server.run(listener, received).await;
        });
        Ok(Self { address, orders, opened })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::SeqCst)
    }

    /// Changes what clients meet, and returns once it holds. Open connections are closed by every change but the
    /// one from `Up` to `BlackHole`, which leaves them open and mute.
    pub(crate) fn set_reach(&self, reach: Reach) -> io::Result<()> {
        let (done, outcome) = std::sync::mpsc::channel();
        let gone = || io::Error::other("failed to change a listener that has ended");
        self.orders.send((reach, done)).map_err(|_| gone())?;
        outcome.recv().map_err(|_| gone())?
    }
}

// === impl Server ===

struct Server<S> {
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    service: S,
    reach: Reach,
    muted: Arc<AtomicBool>,
    opened: Arc<AtomicU64>,
    connections: JoinSet<()>,
}

impl<S, F> Server<S>
where
    S: Fn(hyper::Request<Incoming>, Connection) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = hyper::Response<Body>> + Send + 'static,
{
    async fn run(mut self, listener: TcpListener, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut listener = Some(listener);
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some((reach, done)) = order else { return };
                    // The caller may have given up waiting.
                    let _ = done.send(self.change(reach, &mut listener).await);
                }
                // Failures to accept concern one connection and pass.
                Ok((stream, _)) = accept(listener.as_ref()) => self.serve(stream),
                Some(_) = self.connections.join_next() => {}
            }
        }
    }

    async fn change(&mut self, reach: Reach, listener: &mut Option<TcpListener>) -> io::Result<()> {
        if self.reach == reach {
            return Ok(());
        }
        if reach == Reach::Refusing {
            *listener = None;
        } else if listener.is_none() {
            *listener = Some(bind(self.address)?.listen(BACKLOG)?);
        }
        self.muted.store(reach == Reach::BlackHole, Ordering::SeqCst);
        // Going mute leaves open connections open; those who come out of a black hole must not go on in mid-word.
        if reach != Reach::BlackHole {
            self.connections.shutdown().await;
        }
        self.reach = reach;
        Ok(())
    }

    fn serve(&mut self, stream: TcpStream) {
        let serial = self.opened.fetch_add(1, Ordering::SeqCst);
        let connection = Connection { serial, cut: Arc::new(Notify::new()) };
        let (tls, service) = (self.tls.clone(), self.service.clone());
        // Nagle's algorithm would add up to 40 ms to an answer written in two pieces; if it stays on, only time is
        // lost.
        let _ = stream.set_nodelay(true);
        let stream = Mutable { stream, muted: self.muted.clone() };
        self.connections.spawn(async move {
            let cut = connection.cut.clone();
            let answer = move |request| service(request, connection.clone());
            tokio::select! {
                () = speak(stream, tls, answer) => {}
                () = cut.notified() => {}
            }
        });
    }
}

async fn speak<A, F>(stream: Mutable, tls: Option<TlsAcceptor>, answer: A)
where
    A: Fn(hyper::Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = hyper::Response<Body>> + Send + 'static,
{
    let Some(tls) = tls else {
        return speak_http1(stream, answer).await;
    };
    // A failed handshake is the client's to report.
    let Ok(stream) = tls.accept(stream).await else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let service = service_fn(|request| {
            let response = answer(request);
            async { Ok::<_, Infallible>(response.await) }
        });
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        // How a connection ends is seen by the client, and in the request log.
        let _ = builder.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
    } else {
        speak_http1(stream, answer).await;
    }
}

async fn speak_http1<I, A, F>(stream: I, answer: A)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(hyper::Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = hyper::Response<Body>> + Send + 'static,
{
    let service = service_fn(|request| {
        let response = answer(request);
        async { Ok::<_, Infallible>(response.await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    // The client and the request log see how it ends.
    let _ = builder.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

// === impl Mutable ===

/// A connection that can go mute: nothing is read or written then, and nothing fails.
struct Mutable {
    stream: TcpStream,
    muted: Arc<AtomicBool>,
}

impl Mutable {
    /// The stream, unless it is mute. Nobody is woken when that ends, because the connection ends with it.
    fn heard(&mut self) -> Poll<Pin<&mut TcpStream>> {
        if self.muted.load(Ordering::SeqCst) {
            Poll::Pending
        } else {
            Poll::Ready(Pin::new(&mut self.stream))
        }
    }
}

impl AsyncRead for Mutable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.heard()).poll_read(context, buffer)
    }
}

impl AsyncWrite for Mutable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.heard()).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.heard()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.heard()).poll_shutdown(context)
    }
}

// === others ===

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => pending().await,
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Lets the listener share its port with the reservation, and come back while old connections linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The most connections that a burst of one test may open at once.
const BACKLOG: u32 = 1024;
