# Completion of handoffctl. Generated from its command tree by tools/generate-cli.mjs.
_handoffctl() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local verb= place=0 index word skip=
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    word=${COMP_WORDS[index]}
    if [[ -n $skip ]]; then
      skip=
    elif [[ $word == -* ]]; then
      case $word in --socket | --url | --token-file | --ca | --cert | --key | --strategy | --step | --bake | --limit | --before | -c | --config) skip=1 ;; esac
    else
      case "$verb $word" in
        ' status' | ' top' | ' deploy' | ' wait' | ' promote' | ' pause' | ' continue' | ' abort' | ' rollback' | ' restart' | ' scale' | ' hold' | ' resume' | ' end' | ' reload' | ' listeners' | ' history' | ' events' | ' upgrade' | ' doctor' | ' completion') verb="${verb:+$verb }$word" ;;
        *) ((place++)) ;;
      esac
    fi
  done
  if [[ -n $skip ]]; then
    case $previous in
      --socket | --token-file | --ca | --cert | --key | -c | --config) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
      --strategy) _handoffctl_words blue-green canary rolling recreate ;;
      --before) _handoffctl_names deploys ;;
    esac
    return
  fi
  if [[ $current == -* ]]; then
    case $verb in
      'status') _handoffctl_words --version --socket --url --token-file --ca --cert --key --json --help ;;
      'top') _handoffctl_words --version --socket --url --token-file --ca --cert --key --json --help ;;
      'deploy') _handoffctl_words --strategy --step --bake --wait --detach --version --socket --url --token-file --ca --cert --key --json --help ;;
      'wait') _handoffctl_words --version --socket --url --token-file --ca --cert --key --json --help ;;
      'promote') _handoffctl_words --wait --version --socket --url --token-file --ca --cert --key --json --help ;;
      'pause') _handoffctl_words --version --socket --url --token-file --ca --cert --key --json --help ;;
      'continue') _handoffctl_words --wait --version --socket --url --token-file --ca --cert --key --json --help ;;
      'abort') _handoffctl_words --wait --version --socket --url --token-file --ca --cert --key --json --help ;;
      'rollback') _handoffctl_words --wait --detach --version --socket --url --token-file --ca --cert --key --json --help ;;
      'restart') _handoffctl_words --wait --detach --version --socket --url --token-file --ca --cert --key --json --help ;;
      'scale') _handoffctl_words --version --socket --url --token-file --ca --cert --key --json --help ;;
      'hold') _handoffctl_words --idle --version --socket --url --token-file --ca --cert --key --json --help ;;
      'resume') _handoffctl_words --wait --detach --version --socket --url --token-file --ca --cert --key --json --help ;;
      'end') _handoffctl_words --version --socket --url --token-file --ca --cert --key --json --help ;;
      'reload') _handoffctl_words --version --socket --url --token-file --ca --cert --key --json --help ;;
      'listeners') _handoffctl_words --version --socket --url --token-file --ca --cert --key --json --help ;;
      'history') _handoffctl_words --limit --before --version --socket --url --token-file --ca --cert --key --json --help ;;
      'events') _handoffctl_words --follow --version --socket --url --token-file --ca --cert --key --json --help ;;
      'upgrade') _handoffctl_words --version --socket --url --token-file --ca --cert --key --json --help ;;
      'doctor') _handoffctl_words --all --config --version --socket --url --token-file --ca --cert --key --json --help ;;
      'completion') _handoffctl_words --version --socket --url --token-file --ca --cert --key --json --help ;;
      *) _handoffctl_words --version --socket --url --token-file --ca --cert --key --json --help ;;
    esac
    return
  fi
  case "$verb:$place" in
    :0) _handoffctl_words status top deploy wait promote pause continue abort rollback restart scale hold resume end reload listeners history events upgrade doctor completion ;;
    'deploy:0') _handoffctl_names services ;;
    'wait:0') _handoffctl_names deploys ;;
    'promote:0') _handoffctl_names deploys ;;
    'pause:0') _handoffctl_names deploys ;;
    'continue:0') _handoffctl_names deploys ;;
    'abort:0') _handoffctl_names deploys ;;
    'rollback:0') _handoffctl_names services ;;
    'restart:0') _handoffctl_names services ;;
    'scale:0') _handoffctl_names services ;;
    'hold:0') _handoffctl_names services ;;
    'resume:0') _handoffctl_names services ;;
    'end:0') _handoffctl_names services ;;
    'history:0') _handoffctl_names services ;;
    'completion:0') _handoffctl_words bash zsh fish ;;
  esac
}

_handoffctl_words() {
  mapfile -t COMPREPLY < <(compgen -W "$*" -- "$current")
}

_handoffctl_names() {
  _handoffctl_words $(handoffctl _names "$1" 2> /dev/null)
}

complete -o bashdefault -F _handoffctl handoffctl
