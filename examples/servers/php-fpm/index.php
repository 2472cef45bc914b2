<?php
// / at once, /slow after a tenth of a second.
if ($_SERVER['REQUEST_URI'] === '/slow') {
    usleep(100_000);
}
$version = getenv('HANDOFF_VERSION');
$generation = getenv('HANDOFF_GENERATION');
header('Content-Type: text/plain');
header("X-Version: $version");
header("X-Generation: $generation");
printf("version %s (generation %s, pid %d)\n", $version, $generation, getmypid());
