// Counting, and the one JSON object at the end.
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_NAMES 1024
#define MAX_ERRORS 10

// Latencies in microseconds: exact below 1024, then 512 steps per power of two (an error of 0.2 % at most).
#define STEPS 512
#define HISTOGRAM_SIZE (2 * STEPS + 40 * STEPS)

typedef struct {
  char name[WORD_BYTES];
  uint64_t count;
  double first_ms, last_ms;
} tally_entry;

typedef struct {
  tally_entry entries[MAX_NAMES];
  size_t length;
} tally;

typedef struct {
  double ms;
  char what[192];
} failure;

static struct {
  const options* of;
  uint64_t started;
  double started_at_ms;
  uint64_t requests, connections, closed_idle, unasked, late, answers;
  uint64_t endings[END_KINDS];
  uint64_t status[600];
  tally versions, generations, instances;
  uint32_t histogram[HISTOGRAM_SIZE];
  uint64_t max_ns;
  failure failures[MAX_ERRORS];
  size_t failures_length;
} all;

static const char* const ending_names[END_KINDS] = {
    [END_OK] = "ok",           [END_BAD_STATUS] = "badStatus",
    [END_REFUSED] = "refused", [END_RESET] = "reset",
    [END_EOF] = "eof",         [END_RESET_ON_REUSE] = "resetOnReuse",
    [END_CUT] = "cut",         [END_EOF_ON_REUSE] = "eofOnReuse",
    [END_TIMEOUT] = "timeout", [END_MALFORMED] = "malformed",
    [END_CLIENT] = "client",
};

uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t started_ns(void) { return all.started; }

static double since_start_ms(void) { return (double)(now_ns() - all.started) / 1e6; }

void report_open(const options* of) {
  struct timespec wall;
  clock_gettime(CLOCK_REALTIME, &wall);
  all.of = of;
  all.started = now_ns();
  all.started_at_ms = (double)wall.tv_sec * 1e3 + (double)wall.tv_nsec / 1e6;
}

void report_request(void) { all.requests++; }
void report_connection(void) { all.connections++; }
void report_closed_idle(void) { all.closed_idle++; }
void report_unasked(void) { all.unasked++; }

static void print_string(FILE* to, const char* text) {
  fputc('"', to);
  for (const unsigned char* at = (const unsigned char*)text; *at != '\0'; at++) {
    if (*at < 0x20 || *at == '"' || *at == '\\' || *at >= 0x7f) {
      fprintf(to, "\\u%04x", *at);
    } else {
      fputc(*at, to);
    }
  }
  fputc('"', to);
}

static void progress(const char* event, const char* value, double ms) {
  if (all.of->progress_fd < 0) return;
  char line[256] = "";
  FILE* to = fmemopen(line, sizeof line, "w");
  if (to == NULL) return;
  fprintf(to, "{\"event\":\"%s\",\"ms\":%.3f", event, ms);
  if (value != NULL) {
    fputs(",\"value\":", to);
    print_string(to, value);
  }
  fputs("}\n", to);
  fclose(to);
  // Whoever asked for it may have gone away; the load goes on.
  if (write(all.of->progress_fd, line, strlen(line)) < 0) return;
}

void report_progress(const char* event, const char* value) { progress(event, value, since_start_ms()); }

// Says so on the progress descriptor when the name is new and there is an `event` for it. Names beyond the
// table's end are not counted apart.
static void tally_add(tally* to, const char* name, const char* event) {
  double ms = since_start_ms();
  for (size_t i = 0; i < to->length; i++) {
    if (strcmp(to->entries[i].name, name) == 0) {
      to->entries[i].count++;
      to->entries[i].last_ms = ms;
      return;
    }
  }
  if (to->length == MAX_NAMES) return;
  tally_entry* entry = &to->entries[to->length++];
  snprintf(entry->name, sizeof entry->name, "%s", name);
  entry->count = 1;
  entry->first_ms = entry->last_ms = ms;
  if (event != NULL) progress(event, name, ms);
}

void report_head(const answer* seen) {
  if (seen->generation[0] != '\0') tally_add(&all.generations, seen->generation, "generation");
  if (seen->version[0] != '\0') tally_add(&all.versions, seen->version, "version");
  if (seen->instance[0] != '\0') tally_add(&all.instances, seen->instance, NULL);
}

static size_t histogram_index(uint64_t us) {
  if (us < 2 * STEPS) return (size_t)us;
  unsigned shift = 63u - (unsigned)__builtin_clzll(us) - 9u;  // leaves 512..1023
  size_t index = (size_t)shift * STEPS + (size_t)(us >> shift);
  return index < HISTOGRAM_SIZE ? index : HISTOGRAM_SIZE - 1;
}

static double histogram_ms(size_t index) {
  if (index < 2 * STEPS) return (double)index / 1e3;
  size_t shift = index / STEPS - 1;
  return (double)((uint64_t)(index - shift * STEPS) << shift) / 1e3;
}

static double quantile_ms(double share) {
  uint64_t rank = (uint64_t)(share * (double)all.answers), seen = 0;
  for (size_t i = 0; i < HISTOGRAM_SIZE; i++) {
    seen += all.histogram[i];
    if (seen > rank) return histogram_ms(i);
  }
  return (double)all.max_ns / 1e6;
}

void report_answer(const answer* whole, uint64_t latency_ns) {
  bool good = whole->status >= 200 && whole->status < 300;
  all.endings[good ? END_OK : END_BAD_STATUS]++;
  all.status[whole->status]++;
  all.answers++;
  all.histogram[histogram_index(latency_ns / 1000)]++;
  if (latency_ns > all.max_ns) all.max_ns = latency_ns;
  if (latency_ns > (uint64_t)all.of->late_ms * 1000000u) all.late++;
  if (good && whole->version[0] == '\0' && whole->word[0] != '\0') {
    tally_add(&all.versions, whole->word, "version");
  }
  if (good && all.endings[END_OK] == 1) report_progress("started", NULL);
}

void report_failure(ending kind, const char* what) {
  all.endings[kind]++;
  if (all.failures_length == MAX_ERRORS) return;
  failure* entry = &all.failures[all.failures_length++];
  entry->ms = since_start_ms();
  snprintf(entry->what, sizeof entry->what, "%s: %s", ending_names[kind], what);
}

static void print_counts(const char* key, const tally* of) {
  printf(",\"%s\":{", key);
  for (size_t i = 0; i < of->length; i++) {
    if (i > 0) putchar(',');
    print_string(stdout, of->entries[i].name);
    printf(":%llu", (unsigned long long)of->entries[i].count);
  }
  putchar('}');
}

static void print_times(const char* key, const tally* of, bool first) {
  printf(",\"%s\":{", key);
  for (size_t i = 0; i < of->length; i++) {
    if (i > 0) putchar(',');
    print_string(stdout, of->entries[i].name);
    printf(":%.3f", first ? of->entries[i].first_ms : of->entries[i].last_ms);
  }
  putchar('}');
}

// [milliseconds, requests] of each bucket that has any.
static void print_histogram(void) {
  const char* separator = ",\"histogram\":[";
  if (all.answers == 0) fputs(separator, stdout);
  for (size_t i = 0; i < HISTOGRAM_SIZE; i++) {
    if (all.histogram[i] == 0) continue;
    printf("%s[%.3f,%u]", separator, histogram_ms(i), all.histogram[i]);
    separator = ",";
  }
  putchar(']');
}

void report_print(void) {
  printf("{\"mode\":\"%s\",\"startedAt\":%.3f,\"durationMs\":%.3f", all.of->mode_name, all.started_at_ms,
         since_start_ms());
  printf(",\"requests\":%llu,\"connections\":%llu,\"closedIdle\":%llu,\"unasked\":%llu,\"late\":%llu",
         (unsigned long long)all.requests, (unsigned long long)all.connections,
         (unsigned long long)all.closed_idle, (unsigned long long)all.unasked, (unsigned long long)all.late);
  for (int i = 0; i < END_KINDS; i++) {
    printf(",\"%s\":%llu", ending_names[i], (unsigned long long)all.endings[i]);
  }
  fputs(",\"status\":{", stdout);
  bool some = false;
  for (int code = 0; code < 600; code++) {
    if (all.status[code] == 0) continue;
    printf("%s\"%d\":%llu", some ? "," : "", code, (unsigned long long)all.status[code]);
    some = true;
  }
  putchar('}');
  print_counts("versions", &all.versions);
  print_counts("generations", &all.generations);
  printf(",\"instances\":%zu", all.instances.length);
  printf(",\"latencyMs\":{\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}", quantile_ms(0.5),
         quantile_ms(0.99), quantile_ms(0.999), (double)all.max_ns / 1e6);
  if (all.of->histogram) print_histogram();
  print_times("firstSeen", &all.generations, true);
  print_times("lastSeen", &all.generations, false);
  fputs(",\"errors\":[", stdout);
  for (size_t i = 0; i < all.failures_length; i++) {
    printf("%s{\"ms\":%.3f,\"what\":", i > 0 ? "," : "", all.failures[i].ms);
    print_string(stdout, all.failures[i].what);
    putchar('}');
  }
  puts("]}");
  fflush(stdout);
}

bool report_is_sound(void) { return all.endings[END_CLIENT] == 0; }
