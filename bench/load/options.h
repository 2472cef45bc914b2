#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

typedef enum { MODE_NEW, MODE_KEEPALIVE, MODE_STREAM, MODE_IDLE } load_mode;

typedef struct {
  load_mode mode;
  const char* mode_name;
  struct sockaddr_storage address;
  socklen_t address_length;
  char host[64];  // what the Host header says
  bool has_source;
  struct in_addr source;
  int connections;
  double rate;  // requests per second in total; 0: as fast as answers come
  int think_min_ms, think_max_ms;
  uint64_t requests;  // 0: no bound
  double seconds;
  const char* path;
  int late_ms, timeout_ms;
  const char* method;
  size_t body_bytes;
  int progress_fd;  // -1: nobody listens
  bool histogram;   // the report has all latencies, in buckets, for whoever merges reports
} options;

// Ends the process with status 2 and a sentence on stderr when the arguments make no sense.
void parse_options(options* to, int argc, char** argv);

#endif
