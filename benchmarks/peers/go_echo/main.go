// An echo server on the loopback address; prints {"port": N} when it listens, runs until killed.
//
//	go_echo RECEIVE_SIZE
//
// One goroutine for each connection, on one processor (GOMAXPROCS=1), as the others use one thread.
package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
)

func echo(connection net.Conn, size int) {
	defer connection.Close()
	buffer := make([]byte, size)
	for {
		count, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:count]); err != nil {
			return
		}
	}
}

func main() {
	runtime.GOMAXPROCS(1)
	size, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("{\"port\": %d}\n", listener.Addr().(*net.TCPAddr).Port)
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go echo(connection, size)
	}
}
