# Sourced by apps/demo.sh, tests/run.sh and bench/run.sh: `install_packages PURPOSE...` installs what .ci/packages.txt
# lists for these purposes and the system lacks. Not root: says what is missing and the line that installs it, returns 1.
install_packages() {
  local list missing="" package purpose
  list="$(dirname "${BASH_SOURCE[0]}")/packages.txt"
  for purpose in "$@"; do
    for package in $(sed -n "s/^$purpose //p" "$list"); do
      dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' && continue
      case " $missing " in *" $package "*) ;; *) missing="$missing $package" ;; esac
    done
  done
  [ -z "$missing" ] && return 0
  if [ "$(id -u)" -ne 0 ]; then
    echo "missing packages:$missing" >&2
    echo "install them with: sudo apt-get install --no-install-recommends$missing" >&2
    return 1
  fi
  echo "installing:$missing"
  # Run level 1: no package starts a service of its own (invoke-rc.d(8)).
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
