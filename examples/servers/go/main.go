// net/http: / at once, /slow after a tenth of a second.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

var draining atomic.Bool

// listen takes descriptor 3 when it is meant for this process, as activation.Listeners() of go-systemd does.
func listen() (net.Listener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return net.Listen("tcp", "127.0.0.1:8080")
	}
	file := os.NewFile(3, "LISTEN_FD_3")
	defer file.Close() // FileListener has a duplicate.
	return net.FileListener(file)
}

func answer(w http.ResponseWriter, r *http.Request) {
	version, generation := os.Getenv("HANDOFF_VERSION"), os.Getenv("HANDOFF_GENERATION")
	if r.URL.Path == "/slow" {
		time.Sleep(100 * time.Millisecond)
	}
	// A client that keeps its connection learns here that it must open another: nothing is closed under it.
	if draining.Load() {
		w.Header().Set("Connection", "close")
	}
	w.Header().Set("X-Version", version)
	w.Header().Set("X-Generation", generation)
	fmt.Fprintf(w, "version %s (generation %s, pid %d)\n", version, generation, os.Getpid())
}

func main() {
	listener, err := listen()
	if err != nil {
		log.Fatal(err)
	}
	told, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Handler: http.HandlerFunc(answer)}
	go func() {
		if err := server.Serve(listener); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	<-told.Done()
	draining.Store(true)
	// Shutdown closes idle connections at once, perhaps just as a request is on its way. Nobody new comes meanwhile.
	time.Sleep(2 * time.Second)
	deadline, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		log.Fatal(err)
	}
}
