// An echo server on the loopback address; prints {"port": N} when it listens, runs until killed.
//
//     tokio_echo RECEIVE_SIZE
//
// One task for each connection, on the current-thread scheduler.
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn echo(mut stream: TcpStream, size: usize) -> std::io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

async fn serve(size: usize) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{{\"port\": {}}}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(echo(stream, size));
    }
}

fn main() -> std::io::Result<()> {
    let size = std::env::args().nth(1).expect("a size").parse().expect("a number");
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(serve(size))
}
