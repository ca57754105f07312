# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completion of virt-forward. Needs nothing but bash: words are read from the line itself,
# since COMP_WORDS is cut at the colons of forwards and URIs.

_virt_forward_candidates() {
    local global='--json --connect --address --color --help'
    case $1 in
    '') echo "$global --version"; virt-forward __complete verbs 2>/dev/null ;;
    add) echo "$global --name --label --host-address --guest-address --protocol --transport" \
        "--offload --on-busy --scheme --proxy-protocol --idle-timeout --max-connections" \
        "--required --disabled --live --config --persistent --dry-run --wait --timeout" ;;
    remove) echo "$global --all --drain --live --config --persistent" ;;
    list | watch) echo "$global --all" ;;
    url) echo "$global --copy --open" ;;
    auto | block | unblock | enable | disable) echo "$global --live --config --persistent" ;;
    doctor) echo "$global" ;;
    allow) echo "$global --process --undo --live --config --persistent" ;;
    explain) echo "$global --metadata --listener" ;;
    import) echo "$global --dry-run --live --config --persistent" ;;
    export) echo "$global --format --live --config" ;;
    esac
}

_virt_forward_values() {
    case $1 in
    --connect | -c) echo 'qemu:///system qemu:///session' ;;
    --color) echo 'auto always never' ;;
    --protocol) echo 'tcp udp' ;;
    --transport) echo 'auto tcp vsock ssh usernet' ;;
    --offload) echo 'auto none redirect nftables' ;;
    --on-busy) echo 'next any fail' ;;
    --proxy-protocol) echo 'none v2' ;;
    --scheme) echo 'http https' ;;
    --format) echo 'list json xml' ;;
    esac
}

_virt_forward() {
    local line=${COMP_LINE:0:COMP_POINT} word wants_value='' verb='' current files=''
    local -a words positional=() daemon=() candidates=()
    # A backslash quotes the character behind it, as it does in the line.
    # shellcheck disable=SC2162
    IFS=$' \t\n' read -a words <<<"$line"
    if [[ $line == *[[:blank:]] && $line != *\\[[:blank:]] ]]; then words+=(''); fi
    current=${words[-1]}

    for word in "${words[@]:1:${#words[@]}-2}"; do
        if [[ $wants_value ]]; then
            case $wants_value in --connect | -c | --address) daemon+=("$wants_value" "$word") ;; esac
            wants_value=''
            continue
        fi
        case $word in
        --connect=* | --address=*) daemon+=("$word") ;;
        --connect | -c | --address | --color | --name | --label | --host-address | \
            --guest-address | --protocol | --transport | --offload | --on-busy | --scheme | \
            --proxy-protocol | --idle-timeout | --max-connections | --timeout | --metadata | --listener | \
            --format) wants_value=$word ;;
        -*) ;;
        *) if [[ $verb ]]; then positional+=("$word"); else verb=$word; fi ;;
        esac
    done

    if [[ $current == --*=* ]]; then
        local option=${current%%=*} value
        for value in $(_virt_forward_values "$option"); do candidates+=("$option=$value"); done
    elif [[ $wants_value == --metadata ]]; then
        files=yes
    elif [[ $wants_value ]]; then
        mapfile -t candidates < <(_virt_forward_values "$wants_value" | tr ' ' '\n')
    elif [[ $current == -* || ! $verb ]]; then
        mapfile -t candidates < <(_virt_forward_candidates "$verb" | tr ' ' '\n')
    else
        case $verb/${#positional[@]} in
        add/0 | remove/0 | enable/0 | disable/0 | url/0 | explain/0 | doctor/0 | auto/0 | block/0 | unblock/0 | allow/0 | import/0 | export/0 | \
            list/* | watch/*)
            mapfile -t candidates < <(virt-forward "${daemon[@]}" __complete domains 2>/dev/null) ;;
        remove/* | enable/* | disable/* | url/1 | explain/1)
            mapfile -t candidates < <(virt-forward "${daemon[@]}" __complete forwards \
                "${positional[0]}" 2>/dev/null) ;;
        auto/1) candidates=(on off policy) ;;
        import/1) files=yes ;;
        block/1 | unblock/1 | allow/1)
            mapfile -t candidates < <(virt-forward "${daemon[@]}" __complete ports \
                "${positional[0]}" 2>/dev/null) ;;
        esac
    fi

    # readline quotes files, and puts a slash behind directories.
    if [[ $files ]]; then
        mapfile -t candidates < <(compgen -f -- "$current")
        compopt -o filenames 2>/dev/null
    fi

    # readline replaces what stands behind the last break, so that much is all it may get.
    local kept=''
    # One that it quoted itself is no break to it.
    if [[ $COMP_WORDBREAKS == *:* && $current == *[:=]* && ! ($files && $line == *\\[:=]*) ]]; then
        kept=${current%"${current##*[:=]}"}
    fi
    COMPREPLY=()
    local candidate quoted
    for candidate in "${candidates[@]}"; do
        [[ $candidate && $candidate == "$current"* ]] || continue
        [[ ! $current && $candidate == -* ]] && continue
        quoted=${candidate#"$kept"}
        [[ $files ]] || printf -v quoted '%q' "$quoted"
        COMPREPLY+=("$quoted")
    done
}

complete -F _virt_forward virt-forward
