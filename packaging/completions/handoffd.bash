# Completion of handoffd. Generated from its command tree by tools/generate-cli.mjs.
_handoffd() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local verb= place=0 index word skip=
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    word=${COMP_WORDS[index]}
    if [[ -n $skip ]]; then
      skip=
    elif [[ $word == -* ]]; then
      case $word in -c | --config | --listen | --runtime | --state | --deploys | --connections | --path | --stream | --release | --ready-within | --late | --output | --role | --service | --expires | --file) skip=1 ;; esac
    else
      case "$verb $word" in
        ' run' | ' check' | ' doctor' | ' verify' | ' version' | ' token' | 'token new' | ' completion') verb="${verb:+$verb }$word" ;;
        *) ((place++)) ;;
      esac
    fi
  done
  if [[ -n $skip ]]; then
    case $previous in
      -c | --config | --runtime | --state | --path | --stream | --output | --file) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    esac
    return
  fi
  if [[ $current == -* ]]; then
    case $verb in
      'run') _handoffd_words --config --listen --runtime --state --version --help ;;
      'check') _handoffd_words --config --json --version --help ;;
      'doctor') _handoffd_words --config --all --json --version --help ;;
      'verify') _handoffd_words --config --deploys --connections --path --stream --listen --release --ready-within --late --output --json --version --help ;;
      'version') _handoffd_words --json --version --help ;;
      'token new') _handoffd_words --role --service --expires --file --json --version --help ;;
      'completion') _handoffd_words --version --help ;;
      *) _handoffd_words --version --help ;;
    esac
    return
  fi
  case "$verb:$place" in
    :0) _handoffd_words run check doctor verify version token completion ;;
    token:0) _handoffd_words new ;;
    'verify:0') _handoffd_names services ;;
    'completion:0') _handoffd_words bash zsh fish ;;
  esac
}

_handoffd_words() {
  mapfile -t COMPREPLY < <(compgen -W "$*" -- "$current")
}

_handoffd_names() {
  _handoffd_words $(handoffd _names "$1" 2> /dev/null)
}

complete -o bashdefault -F _handoffd handoffd
